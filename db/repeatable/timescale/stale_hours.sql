-- The hours that a span of TimescaleDB's logs touches: microseconds since 1970, both inclusive.
CREATE OR REPLACE FUNCTION hours_between(low bigint, high bigint) RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN tstzrange(
    time_bucket(INTERVAL '1 hour', _timescaledb_functions.to_timestamp(low)),
    time_bucket(INTERVAL '1 hour', _timescaledb_functions.to_timestamp(high)) + INTERVAL '1 hour'
);

-- Hours whose materialized aggregate may lack a reading that came later, so that an exact answer reads them from raw.
-- TimescaleDB's invalidation logs say so, in the same transaction in which the reading was stored or the hour was refreshed
-- (fleetwatt keeps no list of its own): the hypertable's log until a refresh starts, the aggregate's own until it has read that, and
-- from 2.22 on the ranges that a refresh is at, or was at when it failed. An aggregate that was never refreshed is stale throughout.
-- Some bounds lie beyond what a timestamp can hold: they are cut to the span before they become one.
-- Dropping raw readings marks their hours, too, but of those the aggregate is all that is left: what lies before the oldest chunk
-- and is older than retention, or was dropped, is never read from raw.
-- In plpgsql, which plans once a session, and a statement on a table that older versions lack only when it comes to it. (Some
-- callers would have it plan each time.)
CREATE OR REPLACE FUNCTION stale_hours(aggregate text, span tstzrange) RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    aggregated record;
    whole_from timestamptz;
    lowest bigint;
    beyond bigint;
    stale tstzmultirange;
    refreshing tstzmultirange;
BEGIN
    SELECT
        mat_hypertable_id, raw_hypertable_id, table_name::text AS history,
        (SELECT dropped_before FROM fleetwatt_dropped AS dropped WHERE dropped.table_name = hypertable.table_name::text),
        (
            SELECT _timescaledb_functions.to_timestamp(range_start)
            FROM _timescaledb_catalog.dimension
            JOIN _timescaledb_catalog.dimension_slice AS slice ON slice.dimension_id = dimension.id
            WHERE dimension.hypertable_id = raw_hypertable_id
            ORDER BY range_start
            LIMIT 1
        ) AS oldest
    INTO aggregated
    FROM _timescaledb_catalog.continuous_agg
    JOIN _timescaledb_catalog.hypertable ON hypertable.id = raw_hypertable_id
    WHERE user_view_schema = current_schema() AND user_view_name = aggregate;
    whole_from := aggregated.dropped_before;
    IF aggregated.oldest IS NULL OR lower(span) < aggregated.oldest THEN
        whole_from := greatest(whole_from, (
            SELECT least(now() - drop_after, aggregated.oldest) FROM retention
            WHERE table_name = aggregated.history AND drop_after IS NOT NULL
        ));
    END IF;
    span := span * tstzrange(whole_from, NULL);

    lowest := _timescaledb_functions.to_unix_microseconds(lower(span));
    beyond := _timescaledb_functions.to_unix_microseconds(upper(span));
    SELECT range_agg(hours_between(greatest(lowest_modified_value, lowest), least(greatest_modified_value, beyond))) INTO stale
    FROM (
        SELECT lowest_modified_value, greatest_modified_value
        FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
        WHERE materialization_id = aggregated.mat_hypertable_id
        UNION ALL
        SELECT lowest_modified_value, greatest_modified_value
        FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log
        WHERE hypertable_id = aggregated.raw_hypertable_id
    ) AS invalid
    WHERE lowest_modified_value < beyond AND greatest_modified_value >= lowest;
    IF to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL THEN
        SELECT range_agg(hours_between(greatest(lowest_modified_value, lowest), least(greatest_modified_value, beyond))) INTO refreshing
        FROM _timescaledb_catalog.continuous_aggs_materialization_ranges
        WHERE materialization_id = aggregated.mat_hypertable_id
          AND lowest_modified_value < beyond AND greatest_modified_value >= lowest;
    END IF;
    RETURN coalesce(stale, '{}') + coalesce(refreshing, '{}');
END
$$;
