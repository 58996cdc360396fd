-- Hours whose materialized aggregate may lack a reading that came later, so that an exact answer reads them from raw.
-- TimescaleDB's invalidation logs say so, in the same transaction in which the reading was stored or the hour was refreshed
-- (fleetwatt keeps no list of its own): the hypertable's log until a refresh starts, the aggregate's own until it ends.
-- An aggregate that was never refreshed is stale throughout. Bounds are microseconds since 1970, both inclusive, and some lie
-- beyond what a timestamp can hold: they are cut to the span before they become one.
CREATE OR REPLACE FUNCTION stale_hours(aggregate text, span tstzrange) RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH aggregated AS (
        SELECT mat_hypertable_id, raw_hypertable_id
        FROM _timescaledb_catalog.continuous_agg
        WHERE user_view_schema = current_schema() AND user_view_name = aggregate
    ), invalid AS (
        SELECT lowest_modified_value AS lowest, greatest_modified_value AS greatest
        FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
        JOIN aggregated ON materialization_id = mat_hypertable_id
        UNION ALL
        SELECT lowest_modified_value, greatest_modified_value
        FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log
        JOIN aggregated ON hypertable_id = raw_hypertable_id
    )
    SELECT coalesce(
        range_agg(tstzrange(
            time_bucket(INTERVAL '1 hour', _timescaledb_functions.to_timestamp(greatest(invalid.lowest, asked.lowest))),
            time_bucket(INTERVAL '1 hour', _timescaledb_functions.to_timestamp(least(invalid.greatest, asked.greatest)))
                + INTERVAL '1 hour'
        )),
        '{}'
    )
    FROM invalid
    JOIN (
        SELECT
            _timescaledb_functions.to_unix_microseconds(lower(span)) AS lowest,
            _timescaledb_functions.to_unix_microseconds(upper(span)) AS greatest
    ) AS asked ON invalid.lowest < asked.greatest AND invalid.greatest >= asked.lowest
$$;
