-- The hours of every device over a window `since < time <= until` whose ends are whole UTC hours (the arithmetic: docs/energy.md).
-- An hour here holds start <= time < start + 1 hour, as the aggregates have it; `since` itself is left out of the first, and the
-- last has `until` as well, so that hours add up to their window. A step belongs to the hour of its later reading. A device may have
-- two rows for an hour. Materialized hours come from the aggregate, also those that a late reading has made stale since:
-- fleet_exact_until() says from when on. Whatever is not materialized is read device by device and hour by hour through the (id, time)
-- index, as no index is by time alone; so are the readings at the very ends. Of the hours from `six_from` to `six_until` only the step to the
-- first reading of each six is here: all else of them is in the six-hourly aggregate, and added by what asks.
-- As it has no settings of its own, PostgreSQL makes it part of what asks, which plans it for the very window, for `second`, its second hour,
-- for `fresh`, up to when hours come from the aggregate, and for the sixes: chunks are excluded while planning. Everything in `piece` has
-- one type, so that its rows are not copied on their way, and the id comes last: where a column stands is known as long as all before it
-- have one length, and the sort looks at those rows millions of times. OFFSET 0 keeps the planner from reading a chunk as a whole; so
-- does an array of devices.
DROP FUNCTION IF EXISTS ${stream}_hours(timestamptz, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS ${stream}_hours(timestamptz, timestamptz, timestamptz, timestamptz);
CREATE OR REPLACE FUNCTION ${stream}_hours(
    since timestamptz, until timestamptz, fresh timestamptz, second timestamptz, six_from timestamptz, six_until timestamptz
)
RETURNS TABLE (
    $id text, hour timestamptz, readings bigint, energy_kwh double precision, falls double precision, sum_$mean double precision
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 240000 AS $$
    WITH piece AS (
        SELECT h.bucket AS hour, h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls, h.sum_$mean, h.$id
        FROM ${stream}_materialized AS h
        WHERE h.bucket >= second AND h.bucket < fresh AND since < fresh AND (h.bucket < six_from OR h.bucket >= six_until)
        UNION ALL
        SELECT
            time_bucket(INTERVAL '1 hour', six.first_time), six.first_time, six.first_kwh, six.last_kwh,
            0::bigint, 0::double precision, 0::double precision, 0::double precision, six.$id
        FROM $six_hourly AS six
        WHERE six.bucket >= six_from AND six.bucket < six_until
        UNION ALL
        -- The first hour, less a reading at `since` and the step that it begins: `edge` is that reading and the next. Where they were dropped
        -- from raw the hour is left out, as it is for one device.
        SELECT
            h.bucket, h.first_time, coalesce(edge[2][1], h.first_kwh), h.last_kwh,
            h.readings - (h.first_time = since)::int,
            greatest(h.energy_kwh - greatest(edge[2][1] - h.first_kwh, 0), 0),
            h.falls - coalesce(edge[2][1] < h.first_kwh, false)::int,
            h.sum_$mean - coalesce(edge[1][2], 0),
            h.$id
        FROM (
            SELECT h.*, CASE WHEN h.first_time = since THEN ARRAY(
                SELECT ARRAY[r.$counter, r.$mean] FROM $history AS r
                WHERE r.$id = h.$id AND r.time >= since AND r.time < second
                ORDER BY r.time
                LIMIT 2
            ) END AS edge
            FROM ${stream}_materialized AS h
            WHERE h.bucket = since AND since < fresh AND (h.first_time > since OR h.readings > 1)
            OFFSET 0
        ) AS h
        WHERE edge IS DISTINCT FROM '{}'
        UNION ALL
        SELECT
            hour, raw.first_time, raw.kwh[1], raw.kwh[raw.readings], raw.readings, raw.steps[2], raw.steps[3], raw.sum_$mean, device.$id
        FROM $latest AS device
        CROSS JOIN (
            SELECT hour, CASE WHEN hour + INTERVAL '1 hour' < until THEN hour + INTERVAL '1 hour' ELSE until + INTERVAL '1 microsecond' END
            FROM generate_series(fresh, until - INTERVAL '1 hour', INTERVAL '1 hour') AS hour
        ) AS span (hour, before)
        CROSS JOIN LATERAL (
            SELECT counted.*, counted_steps(kwh) AS steps
            FROM (
                -- In the order of `reading`. An ORDER BY in an aggregate would have PostgreSQL 15 sort each hour once more, and one by
                -- something else has PostgreSQL 16 sort what all aggregates here are given.
                SELECT count(*) AS readings, min(time) AS first_time, array_agg(kwh) AS kwh, sum($mean) AS sum_$mean
                FROM (
                    SELECT r.time, r.$counter AS kwh, r.$mean
                    FROM $history AS r
                    -- `> since` first: of equal bounds TimescaleDB 2.26 heeds the first alone, where a window has a whole chunk.
                    WHERE r.$id = device.$id AND r.time > since AND r.time >= fresh AND r.time <= until
                      AND r.time >= hour AND r.time < before
                    ORDER BY r.time
                ) AS reading
            ) AS counted
            WHERE readings > 0
            -- Without it counted_steps() would be called for each element that is taken of its result.
            OFFSET 0
        ) AS raw
        WHERE fresh < until
        UNION ALL
        SELECT
            until - INTERVAL '1 hour', r.time, r.$counter, r.$counter, 1::bigint, 0::double precision, 0::double precision, r.$mean,
            r.$id
        FROM $history AS r
        WHERE r.$id = ANY (ARRAY(SELECT device.$id FROM $latest AS device WHERE device.time >= until)) AND r.time = until
          AND fresh = until
    ), stepped AS (
        SELECT piece.*, first_kwh - lag(last_kwh) OVER (PARTITION BY piece.$id ORDER BY first_time) AS seam_kwh FROM piece
    )
    SELECT
        stepped.$id, stepped.hour, stepped.readings,
        CASE WHEN stepped.readings > 1 OR seam_kwh IS NOT NULL THEN stepped.energy_kwh + greatest(seam_kwh, 0) END,
        CASE WHEN seam_kwh < 0 THEN stepped.falls + 1 ELSE stepped.falls END,
        stepped.sum_$mean
    FROM stepped
$$;
COMMENT ON FUNCTION ${stream}_hours(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'Energy in kWh of every $stream by the hour (NULL where no step ends), its readings, the falls of its counter, the sum of its $mean';

-- These two add hours up, by device and by hour. Functions, because a parallel worker runs each as a whole (it would not run the window
-- function that finds steps between hours): one stream beside the other.
CREATE OR REPLACE FUNCTION ${stream}_totals(since timestamptz, until timestamptz, fresh timestamptz)
RETURNS TABLE (device text, readings bigint, energy_kwh double precision, falls bigint, avg_$mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000 COST 10000000
SET plan_cache_mode = force_custom_plan
-- Some 10,000 device-days are to be sorted in memory.
SET work_mem = '64MB'
SET max_parallel_workers_per_gather = 0
-- Of use for many chunks; for a look-up in one it costs more than the look-up.
SET timescaledb.enable_chunk_append = off AS $$
DECLARE
    second    CONSTANT timestamptz := since + INTERVAL '1 hour';
    six_from  CONSTANT timestamptz := six_from('$six_hourly', since);
    six_until CONSTANT timestamptz := six_until('$six_hourly', six_from, fresh);
BEGIN
    RETURN QUERY
    SELECT
        part.$id, sum(part.readings)::bigint, sum(part.energy_kwh), sum(part.falls)::bigint,
        quotient(sum(part.sum_$mean), sum(part.readings))
    FROM (
        SELECT hours.$id, hours.readings, hours.energy_kwh, hours.falls, hours.sum_$mean
        FROM ${stream}_hours(since, until, fresh, second, six_from, six_until) AS hours
        UNION ALL
        SELECT six.$id, six.readings::bigint, six.energy_kwh, six.falls, six.sum_$mean
        FROM $six_hourly AS six
        WHERE six.bucket >= six_from AND six.bucket < six_until
    ) AS part
    GROUP BY part.$id;
END
$$;

-- `alone_kwh` is the energy of the devices in `alone`.
DROP FUNCTION IF EXISTS ${stream}_totals_by_hour(timestamptz, timestamptz, timestamptz);
CREATE OR REPLACE FUNCTION ${stream}_totals_by_hour(since timestamptz, until timestamptz, fresh timestamptz, alone text[])
RETURNS TABLE (
    hour timestamptz, readings bigint, energy_kwh double precision, falls bigint, sum_$mean double precision, alone_kwh double precision
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 24 COST 10000000
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
SET max_parallel_workers_per_gather = 0
SET timescaledb.enable_chunk_append = off AS $$
DECLARE
    second    CONSTANT timestamptz := since + INTERVAL '1 hour';
    six_from  CONSTANT timestamptz := six_from('$six_hourly', since);
    six_until CONSTANT timestamptz := six_until('$six_hourly', six_from, fresh);
BEGIN
    RETURN QUERY
    SELECT
        part.hour, sum(part.readings)::bigint, sum(part.energy_kwh), sum(part.falls)::bigint, sum(part.sum_$mean),
        sum(part.energy_kwh) FILTER (WHERE part.is_alone)
    FROM (
        SELECT
            hours.hour, hours.$id = ANY (alone) AS is_alone, sum(hours.readings)::bigint AS readings, sum(hours.energy_kwh) AS energy_kwh,
            sum(hours.falls) AS falls, sum(hours.sum_$mean) AS sum_$mean
        FROM ${stream}_hours(since, until, fresh, second, six_from, six_until) AS hours
        GROUP BY hours.hour, is_alone
        UNION ALL
        -- The sums of six hours first: of 10,000 rows they leave one or two to be taken apart.
        SELECT
            six.bucket + generate_series(0, 5) * INTERVAL '1 hour', six.is_alone, unnest(six.readings)::bigint, unnest(six.energy_kwh),
            unnest(six.falls), unnest(six.sum_$mean)
        FROM (
            SELECT
                bucket, $id = ANY (alone) AS is_alone,
                ARRAY[
                    sum(readings_0), sum(readings_1), sum(readings_2), sum(readings_3), sum(readings_4), sum(readings_5)
                ] AS readings,
                ARRAY[
                    sum(energy_kwh_0), sum(energy_kwh_1), sum(energy_kwh_2), sum(energy_kwh_3), sum(energy_kwh_4), sum(energy_kwh_5)
                ] AS energy_kwh,
                ARRAY[
                    sum(falls_0), sum(falls_1), sum(falls_2), sum(falls_3), sum(falls_4), sum(falls_5)
                ] AS falls,
                ARRAY[
                    sum(sum_${mean}_0), sum(sum_${mean}_1), sum(sum_${mean}_2), sum(sum_${mean}_3), sum(sum_${mean}_4), sum(sum_${mean}_5)
                ] AS sum_$mean
            FROM $six_hourly
            WHERE bucket >= six_from AND bucket < six_until
            GROUP BY bucket, is_alone
        ) AS six
    ) AS part
    GROUP BY part.hour;
END
$$;
