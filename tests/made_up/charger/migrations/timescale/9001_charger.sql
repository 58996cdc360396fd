-- Its aggregates and policies.

CREATE MATERIALIZED VIEW charger_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    charger_id,
    time_bucket(INTERVAL '1 hour', time)             AS bucket,
    count(*)                                         AS readings,
    date_part('epoch', min(time) - time_bucket(INTERVAL '1 hour', time)) AS first_second,
    date_part('epoch', max(time) - time_bucket(INTERVAL '1 hour', time)) AS last_second,
    first(kwh_dispensed, time)                       AS first_kwh,
    last(kwh_dispensed, time)                        AS last_kwh,
    min(kwh_dispensed)                               AS min_kwh,
    max(kwh_dispensed)                               AS max_kwh,
    steepest_kw(array_agg(kwh_dispensed ORDER BY time), array_agg(time ORDER BY time)) AS steepest_kw,
    deepest_fall(array_agg(kwh_dispensed ORDER BY time)) AS deepest_fall,
    min(connector_temp)                              AS min_connector_temp,
    max(connector_temp)                              AS max_connector_temp,
    sum(connector_temp)                              AS sum_connector_temp,
    count(connector_temp)                            AS count_connector_temp
FROM charger_telemetry
GROUP BY charger_id, bucket
WITH NO DATA;

ALTER TABLE charger_telemetry SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'charger_id', timescaledb.orderby = 'time'
);
CALL add_columnstore_policy('charger_telemetry', after => INTERVAL '7 days');
SELECT add_continuous_aggregate_policy('charger_hourly',
    start_offset => INTERVAL '1094 days', end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '30 minutes', buckets_per_batch => 0);
-- Raw is dropped by retention_guard(), and not by its policy's own job.
SELECT alter_job(add_retention_policy('charger_telemetry', drop_after => INTERVAL '1095 days'), scheduled => false);
SELECT add_retention_policy('charger_hourly', drop_after => INTERVAL '3650 days');
CREATE TRIGGER forget_dropped AFTER TRUNCATE ON charger_telemetry
FOR EACH STATEMENT EXECUTE FUNCTION forget_dropped();
