-- What the hourly aggregates have materialized, without their real-time half: that would be planned each time, and never read.
DO $$
DECLARE
    stored record;
BEGIN
    FOR stored IN
        SELECT replace(user_view_name, '_hourly', '_materialized') AS name, hypertable.schema_name, hypertable.table_name
        FROM _timescaledb_catalog.continuous_agg
        JOIN _timescaledb_catalog.hypertable ON hypertable.id = mat_hypertable_id
        WHERE user_view_schema = current_schema() AND user_view_name IN ('meter_hourly', 'vehicle_hourly')
    LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %I AS SELECT * FROM %I.%I', stored.name, stored.schema_name, stored.table_name);
    END LOOP;
END
$$;
