-- buckets --
-- One device's curve by the buckets between neighbouring boundaries, [start, end), a row each; what each
-- says of the measures. Hours that no boundary parts come from the aggregate, everything else from raw.
-- Cost: a row an hour of the aggregate, twice, and one index range scan of raw for each stretch of the rest.
-- Rows: many.
WITH asked AS MATERIALIZED (
    SELECT
        cuts, tstzrange(cuts[1], cuts[cardinality(cuts)]) AS span,
        tstzrange(NULL, coalesce(raw_dropped_before('$history'), '-infinity')) AS gone
    FROM (SELECT %(boundaries)s::timestamptz[]) AS given (cuts)
), hour AS MATERIALIZED (
    SELECT
        asked.*,
        tstzmultirange(span) * tstzmultirange(gone) + tstzmultirange(span) - stale_hours('$hourly', span) - (
            SELECT coalesce(range_agg(tstzrange(parted, parted + INTERVAL '1 hour')), '{}')
                - tstzmultirange(gone)
            FROM unnest(cuts) AS cut
            CROSS JOIN LATERAL time_bucket(INTERVAL '1 hour', cut) AS parted
            WHERE parted < cut
        ) AS hours
    FROM asked
), piece AS (
    SELECT told.bucket AS first_time, $hourly_statistics
    FROM hour
    CROSS JOIN unnest(hours) AS part
    -- OFFSET keeps the planner from reading the window as a whole.
    CROSS JOIN LATERAL (
        SELECT * FROM ${stream}_known_hours
        WHERE $id = %(id)s::text AND bucket >= %(start)s::timestamptz AND bucket < %(end)s::timestamptz
          AND bucket >= lower(part) AND bucket < upper(part)
        OFFSET 0
    ) AS told
    UNION ALL
    SELECT reading.time, $reading_statistics
    FROM hour
    CROSS JOIN unnest(tstzmultirange(span) - hours) AS part
    CROSS JOIN LATERAL (
        SELECT * FROM $history
        WHERE $id = %(id)s::text AND time >= %(start)s::timestamptz AND time < %(end)s::timestamptz
          AND time >= lower(part) AND time < upper(part)
        OFFSET 0
    ) AS reading
), told AS (
    SELECT width_bucket(first_time, %(boundaries)s::timestamptz[]) AS number,
    $bucket_statistics FROM piece GROUP BY 1
)
SELECT
    bounds[number] AS start, bounds[number + 1] AS "end", curve.energy_kwh, curve.last_kwh, $named_statistics,
    coalesce(curve.readings, 0) AS readings, coalesce(curve.falls, 0) AS falls,
    coalesce(curve.jumps, 0) AS jumps,
    coalesce(curve.ignored, 0) AS ignored, coalesce(curve.estimated, false) AS estimated,
    coalesce(curve.dropped, false) AS dropped
FROM (SELECT %(boundaries)s::timestamptz[]) AS given (bounds)
CROSS JOIN LATERAL generate_series(1, cardinality(bounds) - 1) AS number
LEFT JOIN ${stream}_buckets(
    %(id)s, %(boundaries)s::timestamptz[], device_max_kw('$stream', %(id)s, %(max_kw)s)
) AS curve USING (number)
LEFT JOIN told USING (number)
ORDER BY number

-- readings --
-- One device's readings of start <= time < end, in order, `most` rows at most, each with what its curve rises
-- by there. Cost: one index range scan of raw, twice.
-- Rows: many.
WITH asked AS MATERIALIZED (
    SELECT
        time_bucket(INTERVAL '1 hour', %(start)s::timestamptz) AS origin,
        coalesce((
            SELECT time FROM $history
            WHERE $id = %(id)s AND time >= %(start)s::timestamptz AND time < %(end)s::timestamptz
            ORDER BY time
            OFFSET %(most)s::bigint
            LIMIT 1
        ), %(end)s::timestamptz) AS until
), piece AS MATERIALIZED (
    -- Once: a join would scan again for each reading.
    SELECT asked.origin, scanned.*
    FROM asked
    CROSS JOIN LATERAL ${stream}_scanned(
        %(id)s, asked.origin, %(start)s::timestamptz, asked.until,
        device_max_kw('$stream', %(id)s, %(max_kw)s), NULL, 7
    ) AS scanned
)
SELECT
    reading.time AS start, reading.time AS "end",
    CASE WHEN piece.earlier IS NOT NULL THEN piece.first_rise END AS energy_kwh,
    reading.$counter AS last_kwh, $raw_statistics, 1::bigint AS readings,
    (piece.outcome = 'fall')::int AS falls, (piece.outcome = 'jump')::int AS jumps,
    piece.outcome = 'ignored' AS ignored
FROM piece
JOIN $history AS reading
    ON reading.$id = %(id)s AND reading.time >= %(start)s::timestamptz AND reading.time < %(end)s::timestamptz
    AND reading.time = piece.origin + piece.first * INTERVAL '1 microsecond'
ORDER BY reading.time

-- gaps --
-- The longest spans of a window, [start, end), without a reading of one device, and whether a reading ends
-- them. Cost: one index range scan of raw over the window.
-- Rows: many.
SELECT start, "end", extract(epoch FROM "end" - start)::double precision AS seconds, heard
FROM (
    SELECT lag(time, 1, %(start)s::timestamptz) OVER (ORDER BY time) AS start, time AS "end",
    true AS heard FROM $history
    WHERE $id = %(id)s::text AND time >= %(start)s::timestamptz AND time < %(end)s::timestamptz
    UNION ALL
    SELECT coalesce(max(time), %(start)s::timestamptz), %(end)s::timestamptz, false FROM $history
    WHERE $id = %(id)s::text AND time >= %(start)s::timestamptz AND time < %(end)s::timestamptz
) AS span
WHERE extract(epoch FROM "end" - start) > %(longer_than)s::double precision
ORDER BY seconds DESC, start
LIMIT %(limit)s::bigint
