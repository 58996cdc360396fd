-- Its aggregates and policies.

CREATE MATERIALIZED VIEW charger_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    charger_id,
    time_bucket(INTERVAL '1 hour', time)             AS bucket,
    count(*)                                         AS readings,
    min(time)                                        AS first_time,
    max(time)                                        AS last_time,
    first(kwh_dispensed, time)                       AS first_kwh,
    last(kwh_dispensed, time)                        AS last_kwh,
    (counter_steps(kwh_dispensed ORDER BY time))[2]  AS energy_kwh,
    (counter_steps(kwh_dispensed ORDER BY time))[3]  AS falls,
    min(connector_temp)                              AS min_connector_temp,
    max(connector_temp)                              AS max_connector_temp,
    sum(connector_temp)                              AS sum_connector_temp,
    count(connector_temp)                            AS count_connector_temp
FROM charger_telemetry
GROUP BY charger_id, bucket
WITH NO DATA;

DO $$
DECLARE
    -- Each of the four for each of six hours, with its number behind it, and for all of them.
    of_hours text := (
        SELECT string_agg(
            format(
                '(six_hours(ARRAY[
                    extract(hour FROM bucket AT TIME ZONE ''UTC'')::integer %% 6,
                    first_kwh, last_kwh, readings, energy_kwh, falls, sum_connector_temp
                ] ORDER BY bucket))[%s][%s] AS %s%s',
                place, number, name, CASE WHEN number < 7 THEN '_' || number - 1 END
            ), ', ' ORDER BY place, number
        )
        FROM unnest(ARRAY['readings', 'energy_kwh', 'falls', 'sum_connector_temp'])
            WITH ORDINALITY AS of_hour (name, place)
        CROSS JOIN generate_series(1, 7) AS number
    );
BEGIN
    EXECUTE format(
        'CREATE MATERIALIZED VIEW charger_six_hourly
        WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
        SELECT
            charger_id, time_bucket(INTERVAL ''6 hours'', bucket) AS bucket, min(first_time) AS first_time,
            first(first_kwh, bucket) AS first_kwh, last(last_kwh, bucket) AS last_kwh, %s
        FROM charger_hourly
        GROUP BY charger_id, time_bucket(INTERVAL ''6 hours'', bucket)
        WITH NO DATA',
        of_hours
    );
END
$$;

ALTER TABLE charger_telemetry SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'charger_id', timescaledb.orderby = 'time'
);
CALL add_columnstore_policy('charger_telemetry', after => INTERVAL '7 days');
SELECT add_continuous_aggregate_policy('charger_hourly',
    start_offset => INTERVAL '1094 days', end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '30 minutes', buckets_per_batch => 0);
SELECT add_continuous_aggregate_policy('charger_six_hourly',
    start_offset => INTERVAL '100 days', end_offset => INTERVAL '2 hours',
    schedule_interval => INTERVAL '10 minutes', buckets_per_batch => 0);
-- Raw is dropped by retention_guard(), and not by its policy's own job.
SELECT alter_job(add_retention_policy('charger_telemetry', drop_after => INTERVAL '1095 days'), scheduled => false);
SELECT add_retention_policy('charger_hourly', drop_after => INTERVAL '3650 days');
SELECT add_retention_policy('charger_six_hourly', drop_after => INTERVAL '400 days');
CREATE TRIGGER forget_dropped AFTER TRUNCATE ON charger_telemetry
FOR EACH STATEMENT EXECUTE FUNCTION forget_dropped();
