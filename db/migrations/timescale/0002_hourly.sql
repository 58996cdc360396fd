-- The hourly aggregates, as real-time continuous aggregates. Buckets are UTC hours: a named time zone is unsafe here (timescaledb#10296).
-- min(), max() and the sums serve the series; first(), last() and counter_steps() keep the energy exact.

CREATE MATERIALIZED VIEW meter_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    meter_id,
    time_bucket(INTERVAL '1 hour', time)                AS bucket,
    count(*)                                            AS readings,
    min(time)                                           AS first_time,
    max(time)                                           AS last_time,
    first(kwh_consumed_ac, time)                        AS first_kwh,
    last(kwh_consumed_ac, time)                         AS last_kwh,
    (counter_steps(kwh_consumed_ac ORDER BY time))[2]   AS energy_kwh,
    (counter_steps(kwh_consumed_ac ORDER BY time))[3]   AS falls,
    min(voltage)                                        AS min_voltage,
    max(voltage)                                        AS max_voltage,
    sum(voltage)                                        AS sum_voltage
FROM meter_telemetry
GROUP BY meter_id, bucket
WITH NO DATA;

CREATE MATERIALIZED VIEW vehicle_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    vehicle_id,
    time_bucket(INTERVAL '1 hour', time)                AS bucket,
    count(*)                                            AS readings,
    min(time)                                           AS first_time,
    max(time)                                           AS last_time,
    first(kwh_delivered_dc, time)                       AS first_kwh,
    last(kwh_delivered_dc, time)                        AS last_kwh,
    (counter_steps(kwh_delivered_dc ORDER BY time))[2]  AS energy_kwh,
    (counter_steps(kwh_delivered_dc ORDER BY time))[3]  AS falls,
    first(soc, time)                                    AS first_soc,
    last(soc, time)                                     AS last_soc,
    min(soc)                                            AS min_soc,
    max(soc)                                            AS max_soc,
    min(battery_temp)                                   AS min_battery_temp,
    max(battery_temp)                                   AS max_battery_temp,
    sum(battery_temp)                                   AS sum_battery_temp
FROM vehicle_telemetry
GROUP BY vehicle_id, bucket
WITH NO DATA;
