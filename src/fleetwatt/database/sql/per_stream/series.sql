-- series --
-- One device's window, (start, end], in buckets, those with a reading alone; without a width each reading is a bucket of its own. A step's
-- energy lies in the bucket of its later reading. Whole, fresh hours come from the aggregate where the buckets are no shorter; everything
-- else from raw, no more than `most` readings a stretch. Cost: a row an hour of the aggregate, and one index range scan of raw for
-- each stretch of the rest: two partial hours and what is stale, or the window as a whole.
WITH span AS MATERIALIZED (
    SELECT
        asked,
        CASE WHEN %(width)s::interval >= INTERVAL '1 hour' THEN whole_hours(asked) - stale_hours('$hourly', asked) ELSE '{}' END AS hours
    FROM ${stream}_asked_span(%(id)s::text, half_open(tstzrange(%(start)s::timestamptz, %(end)s::timestamptz, '(]'))) AS asked
), piece AS (
    SELECT hour.*
    FROM span
    CROSS JOIN unnest(span.hours) AS part
    -- OFFSET and LIMIT keep the planner from reading the window as a whole, also where there is no such part.
    CROSS JOIN LATERAL (
        SELECT first_time, first_kwh, last_kwh, readings, energy_kwh, falls, $hourly_statistics FROM $hourly
        WHERE $id = %(id)s::text AND bucket >= %(start)s::timestamptz AND bucket <= %(end)s::timestamptz
          AND bucket >= lower(part) AND bucket < upper(part)
        OFFSET 0
    ) AS hour
    UNION ALL
    SELECT reading.*
    FROM span
    CROSS JOIN unnest(tstzmultirange(span.asked) - span.hours) AS part
    CROSS JOIN LATERAL (
        SELECT time, $counter, $counter, 1, 0, 0, $reading_statistics FROM $history
        WHERE $id = %(id)s::text AND time > %(start)s::timestamptz AND time <= %(end)s::timestamptz
          AND time >= lower(part) AND time < upper(part)
        ORDER BY time
        LIMIT %(most)s::bigint
    ) AS reading
), joined AS (
    SELECT piece.*, first_kwh - lag(last_kwh) OVER (ORDER BY first_time) AS seam_kwh FROM piece
)
SELECT
    coalesce(time_bucket(%(width)s::interval, first_time), first_time) AS start,
    sum(readings)::bigint AS readings,
    CASE WHEN sum(readings) - count(*) + count(seam_kwh) > 0 THEN
        sum(energy_kwh) + coalesce(sum(seam_kwh) FILTER (WHERE seam_kwh > 0), 0)
    END AS energy_kwh,
    sum(falls)::bigint + count(*) FILTER (WHERE seam_kwh < 0) AS falls,
    last(last_kwh, first_time) AS last_kwh,
    $bucket_statistics
FROM joined
GROUP BY 1
ORDER BY 1

-- gaps --
-- The longest spans of a window, (start, end], without a reading of one device, and whether a reading ends them.
-- Cost: one index range scan of raw over the window.
SELECT start, "end", extract(epoch FROM "end" - start)::double precision AS seconds, heard
FROM (
    SELECT lag(time, 1, %(start)s::timestamptz) OVER (ORDER BY time) AS start, time AS "end", true AS heard FROM $history
    WHERE $id = %(id)s::text AND time > %(start)s::timestamptz AND time <= %(end)s::timestamptz
    UNION ALL
    SELECT coalesce(max(time), %(start)s::timestamptz), %(end)s::timestamptz, false FROM $history
    WHERE $id = %(id)s::text AND time > %(start)s::timestamptz AND time <= %(end)s::timestamptz
) AS span
WHERE extract(epoch FROM "end" - start) > %(longer_than)s::double precision
ORDER BY seconds DESC, start
LIMIT %(limit)s::bigint
