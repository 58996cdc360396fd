-- What of an aggregate may lack a reading that came later, so that an exact answer reads it from raw.
--
-- TimescaleDB's invalidation logs say so, in the same transaction in which the reading was stored or the
-- hour was refreshed; fleetwatt keeps no list of its own. The hypertable's log has it until a refresh starts,
-- and the aggregate's own until the refresh has read that. From 2.22 on there are also the ranges that a
-- refresh is at, or was at when it failed. An aggregate that was never refreshed is stale throughout.
--
-- In plpgsql, which plans once a session. (Some callers would have it plan each time.)

-- Until release 0.1 this one had no span to look at.
DROP FUNCTION IF EXISTS hours_between(bigint, bigint);
-- In: a span of TimescaleDB's logs, in microseconds since 1970, both ends included, and the span that is
-- looked at, likewise. Out: the hours that the first touches within the second: some bounds lie beyond what a
-- timestamp can hold, and are cut before they become one.
CREATE OR REPLACE FUNCTION hours_between(low bigint, high bigint, lowest bigint, beyond bigint)
RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN tstzrange(
    time_bucket(INTERVAL '1 hour', _timescaledb_functions.to_timestamp(greatest(low, lowest))),
    time_bucket(INTERVAL '1 hour', _timescaledb_functions.to_timestamp(least(high, beyond)))
        + INTERVAL '1 hour'
);

-- In: a history table, the start of its oldest chunk (NULL: it has none), and the time from which on is
-- asked. Out: the time before which the aggregate is all that is left, so that it is never read from raw:
-- what lies before the oldest chunk and is older than retention, or was dropped. To drop raw marks its hours
-- in the logs, too. NULL: nothing is known to be gone.
CREATE OR REPLACE FUNCTION raw_gone_before(history text, oldest timestamptz, since timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    gone_before timestamptz := raw_dropped_before(history);
BEGIN
    IF oldest IS NULL OR since < oldest THEN
        gone_before := greatest(gone_before, (
            SELECT least(now() - drop_after, oldest) FROM retention
            WHERE table_name = history AND drop_after IS NOT NULL
        ));
    END IF;
    RETURN gone_before;
END
$$;

-- In: an aggregate's hypertable, that of its raw, and a span in microseconds. Out: the hours of the span that
-- one of the two logs names, NULL where none.
CREATE OR REPLACE FUNCTION invalidated_hours(materialized integer, raw integer, lowest bigint, beyond bigint)
RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (
        SELECT range_agg(hours_between(lowest_modified_value, greatest_modified_value, lowest, beyond))
        FROM (
            SELECT lowest_modified_value, greatest_modified_value
            FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
            WHERE materialization_id = materialized
            UNION ALL
            SELECT lowest_modified_value, greatest_modified_value
            FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log
            WHERE hypertable_id = raw
        ) AS invalid
        WHERE lowest_modified_value < beyond AND greatest_modified_value >= lowest
    );
END
$$;

-- In: an aggregate's hypertable and a span in microseconds. Out: the hours of the span that a refresh is at,
-- NULL where none. A function of its own, whose statement is planned only where its table is there:
-- TimescaleDB before 2.22 lacks it.
CREATE OR REPLACE FUNCTION refreshing_hours(materialized integer, lowest bigint, beyond bigint)
RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT range_agg(hours_between(lowest_modified_value, greatest_modified_value, lowest, beyond))
        FROM _timescaledb_catalog.continuous_aggs_materialization_ranges
        WHERE materialization_id = materialized
          AND lowest_modified_value < beyond AND greatest_modified_value >= lowest
    );
END
$$;

-- In: an aggregate and a span. Out: the hours of the span to be read from raw; '{}' where none, never NULL.
CREATE OR REPLACE FUNCTION stale_hours(aggregate text, span tstzrange) RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    aggregated record;
    lowest bigint;
    beyond bigint;
BEGIN
    SELECT
        mat_hypertable_id AS materialized, raw_hypertable_id AS raw, table_name::text AS history,
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

    span := span * tstzrange(raw_gone_before(aggregated.history, aggregated.oldest, lower(span)), NULL);
    lowest := _timescaledb_functions.to_unix_microseconds(lower(span));
    beyond := _timescaledb_functions.to_unix_microseconds(upper(span));
    RETURN coalesce(invalidated_hours(aggregated.materialized, aggregated.raw, lowest, beyond), '{}')
        + coalesce(refreshing_hours(aggregated.materialized, lowest, beyond), '{}');
END
$$;
