-- The default policies. A DBA changes them with `fleetwatt retention` and `fleetwatt compression` or with
-- TimescaleDB's own functions; the database holds the only copy.

-- Late readings are common within a week; columnstore starts after it.
ALTER TABLE meter_telemetry SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'meter_id', timescaledb.orderby = 'time');
ALTER TABLE vehicle_telemetry SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'vehicle_id', timescaledb.orderby = 'time');
CALL add_columnstore_policy('meter_telemetry', after => INTERVAL '7 days');
CALL add_columnstore_policy('vehicle_telemetry', after => INTERVAL '7 days');

SELECT add_retention_policy('meter_telemetry', drop_after => INTERVAL '1095 days');
SELECT add_retention_policy('vehicle_telemetry', drop_after => INTERVAL '1095 days');
SELECT add_retention_policy('meter_hourly', drop_after => INTERVAL '3650 days');
SELECT add_retention_policy('vehicle_hourly', drop_after => INTERVAL '3650 days');

-- The refresh reaches back as far as late readings come and stays a day inside raw retention: a refresh over
-- dropped raw data would erase the aggregate (timescaledb#2198). One batch: see docs/decisions/.
SELECT add_continuous_aggregate_policy('meter_hourly',
    start_offset => INTERVAL '1094 days', end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '30 minutes', buckets_per_batch => 0);
SELECT add_continuous_aggregate_policy('vehicle_hourly',
    start_offset => INTERVAL '1094 days', end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '30 minutes', buckets_per_batch => 0);
