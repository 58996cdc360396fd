-- In: an aggregate. Out: the start of the oldest chunk that it still has: what retention has dropped of it is
-- not stale, but gone. Infinity where it has none, as on the Apache edition.
CREATE OR REPLACE FUNCTION materialized_from(aggregate text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(_timescaledb_functions.to_timestamp(min(range_start)), 'infinity')
    FROM _timescaledb_catalog.continuous_agg
    JOIN _timescaledb_catalog.dimension ON hypertable_id = mat_hypertable_id
    JOIN _timescaledb_catalog.dimension_slice AS slice ON slice.dimension_id = dimension.id
    WHERE user_view_schema = current_schema() AND user_view_name = aggregate
$$;
