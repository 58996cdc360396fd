-- The hours of each device, as the register curve needs them (docs/energy.md): what tells, whatever power a
-- device may have, whether an hour has neither a glitch nor a reset, and then its energy. Beside the
-- aggregates of before, so that the release before goes on answering until these are filled: docs/dba.md.
-- 0014 gives them the names of those.

CREATE MATERIALIZED VIEW meter_hours
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    meter_id,
    time_bucket(INTERVAL '1 hour', time)                 AS bucket,
    count(*)                                             AS readings,
    date_part('epoch', min(time) - time_bucket(INTERVAL '1 hour', time)) AS first_second,
    date_part('epoch', max(time) - time_bucket(INTERVAL '1 hour', time)) AS last_second,
    first(kwh_consumed_ac, time)                         AS first_kwh,
    last(kwh_consumed_ac, time)                          AS last_kwh,
    min(kwh_consumed_ac)                                 AS min_kwh,
    max(kwh_consumed_ac)                                 AS max_kwh,
    CASE WHEN max(kwh_consumed_ac) - min(kwh_consumed_ac) > 1 THEN
        steepest_kw(array_agg(kwh_consumed_ac ORDER BY time), array_agg(time ORDER BY time))
    ELSE 0 END                                           AS steepest_kw,
    CASE WHEN max(kwh_consumed_ac) - min(kwh_consumed_ac) > least(
        1, greatest(min(kwh_consumed_ac), 1e-300) / 100
    ) THEN
        deepest_fall(array_agg(kwh_consumed_ac ORDER BY time))
    ELSE 0 END                                           AS deepest_fall,
    min(voltage)                                         AS min_voltage,
    max(voltage)                                         AS max_voltage,
    sum(voltage)                                         AS sum_voltage,
    count(voltage)                                       AS count_voltage
FROM meter_telemetry
GROUP BY meter_id, bucket
WITH NO DATA;

CREATE MATERIALIZED VIEW vehicle_hours
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    vehicle_id,
    time_bucket(INTERVAL '1 hour', time)                 AS bucket,
    count(*)                                             AS readings,
    date_part('epoch', min(time) - time_bucket(INTERVAL '1 hour', time)) AS first_second,
    date_part('epoch', max(time) - time_bucket(INTERVAL '1 hour', time)) AS last_second,
    first(kwh_delivered_dc, time)                        AS first_kwh,
    last(kwh_delivered_dc, time)                         AS last_kwh,
    min(kwh_delivered_dc)                                AS min_kwh,
    max(kwh_delivered_dc)                                AS max_kwh,
    CASE WHEN max(kwh_delivered_dc) - min(kwh_delivered_dc) > 1 THEN
        steepest_kw(array_agg(kwh_delivered_dc ORDER BY time), array_agg(time ORDER BY time))
    ELSE 0 END                                           AS steepest_kw,
    CASE WHEN max(kwh_delivered_dc) - min(kwh_delivered_dc) > least(
        1, greatest(min(kwh_delivered_dc), 1e-300) / 100
    ) THEN
        deepest_fall(array_agg(kwh_delivered_dc ORDER BY time))
    ELSE 0 END                                           AS deepest_fall,
    first(soc, time) FILTER (WHERE soc IS NOT NULL)      AS first_soc,
    last(soc, time) FILTER (WHERE soc IS NOT NULL)       AS last_soc,
    min(soc)                                             AS min_soc,
    max(soc)                                             AS max_soc,
    min(battery_temp)                                    AS min_battery_temp,
    max(battery_temp)                                    AS max_battery_temp,
    sum(battery_temp)                                    AS sum_battery_temp,
    count(battery_temp)                                  AS count_battery_temp
FROM vehicle_telemetry
GROUP BY vehicle_id, bucket
WITH NO DATA;

-- Refreshed and kept as a DBA has set for the aggregates of before.
SELECT add_continuous_aggregate_policy(
    new.name::regclass,
    start_offset => (config ->> 'start_offset')::interval, end_offset => (config ->> 'end_offset')::interval,
    schedule_interval => schedule_interval, buckets_per_batch => 0
)
FROM timescaledb_information.jobs AS job
JOIN (VALUES ('meter_hourly', 'meter_hours'), ('vehicle_hourly', 'vehicle_hours')) AS new (old, name)
    ON old = job.hypertable_name
WHERE proc_name = 'policy_refresh_continuous_aggregate' AND hypertable_schema = current_schema();

SELECT add_retention_policy(new.name::regclass, drop_after => (config ->> 'drop_after')::interval)
FROM timescaledb_information.jobs AS job
JOIN (VALUES ('meter_hourly', 'meter_hours'), ('vehicle_hourly', 'vehicle_hours')) AS new (old, name)
    ON old = job.hypertable_name
WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema();

