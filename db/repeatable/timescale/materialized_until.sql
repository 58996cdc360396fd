-- In: an hourly aggregate. Out: the end of the last hour that it has materialized, where a real-time
-- aggregate continues with raw.
CREATE OR REPLACE FUNCTION materialized_until(aggregate text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(mat_hypertable_id))
    FROM _timescaledb_catalog.continuous_agg
    WHERE user_view_schema = current_schema() AND user_view_name = aggregate
$$;
