-- audit_hours --
-- Random hours of those that history still has chunks of. Each says whether it awaits a refresh of the hourly
-- aggregate, so that answers read it from raw. Hours that retention has dropped are left out: only the
-- aggregate knows them. Cost: one look at the chunks' catalog.
-- Rows: many.
WITH sampled AS MATERIALIZED (
    SELECT DISTINCT hour, md5(%(seed)s::text || extract(epoch FROM hour)) AS place
    FROM timescaledb_information.chunks
    CROSS JOIN LATERAL generate_series(
        time_bucket(INTERVAL '1 hour', range_start), least(range_end, now()) - INTERVAL '1 microsecond',
        INTERVAL '1 hour'
    ) AS hour
    WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
    ORDER BY place
    LIMIT %(hours)s::bigint
)
SELECT hour, stale_hours('$hourly', tstzrange(hour, hour + INTERVAL '1 hour')) <> '{}' AS pending
FROM sampled
ORDER BY hour

-- audit_devices --
-- Random devices, known to latest or heard in the day up to an hour. Cost: latest, and a day of history as a
-- whole.
-- Rows: many.
SELECT device FROM (
    SELECT $id AS device FROM $latest
    UNION
    SELECT $id FROM $history
    WHERE time >= %(hour)s::timestamptz - INTERVAL '1 day'
      AND time < %(hour)s::timestamptz + INTERVAL '1 hour'
) AS known
ORDER BY md5(%(seed)s::text || device)
LIMIT %(sample)s::bigint

-- audit_aggregate --
-- Where the aggregate differs from raw in one hour, column by column; a row that only one of them has differs
-- in all columns. The steps are counted by another way than the aggregate's, and sums may differ in their
-- last digits. What became stale meanwhile does not count. Cost: one index range scan of one chunk for each
-- device, and as many rows of the aggregate.
-- Rows: many.
WITH step AS (
    SELECT
        reading.*, $counter - lag($counter) OVER life AS rise,
        date_part('epoch', time - lag(time) OVER life) AS seconds,
        max($counter) OVER (life ROWS UNBOUNDED PRECEDING) - $counter AS fall
    FROM $history AS reading
    WHERE $id = ANY (%(devices)s::text[])
      AND time >= %(start)s::timestamptz AND time < %(start)s::timestamptz + INTERVAL '1 hour'
    WINDOW life AS (PARTITION BY $id ORDER BY time)
), counted AS (
    SELECT
        $id, %(start)s::timestamptz AS bucket, count(*) AS readings,
        date_part('epoch', min(time) - %(start)s::timestamptz) AS first_second,
        date_part('epoch', max(time) - %(start)s::timestamptz) AS last_second,
        first($counter, time) AS first_kwh, last($counter, time) AS last_kwh, min($counter) AS min_kwh,
        max($counter) AS max_kwh,
        coalesce(max((rise - 1) * 3600 / seconds) FILTER (WHERE rise > 1), 0) AS steepest_kw,
        CASE WHEN max($counter) - min($counter) > least(1, min($counter) / 100) THEN max(fall) ELSE 0 END
            AS deepest_fall,
        $possible_statistics
    FROM step
    GROUP BY $id
), raw AS (
    SELECT $id AS device, bucket, to_jsonb(counted) AS columns FROM counted
), stored AS (
    SELECT $id AS device, bucket, to_jsonb(hourly) AS columns
    FROM $hourly AS hourly
    WHERE $id = ANY (%(devices)s::text[]) AND bucket = %(start)s::timestamptz
)
SELECT device, bucket AS hour, name AS "column", raw.columns ->> name AS raw,
stored.columns ->> name AS stored
FROM raw
FULL JOIN stored USING (device, bucket)
-- Raw counts columns that the aggregate does not have: its own columns are what is compared.
CROSS JOIN LATERAL jsonb_object_keys(coalesce(stored.columns, raw.columns)) AS name
WHERE stale_hours(
    '$hourly', tstzrange(%(start)s::timestamptz, %(start)s::timestamptz + INTERVAL '1 hour')
) = '{}'
  AND CASE
      WHEN jsonb_typeof(raw.columns -> name) = 'number'
          AND jsonb_typeof(stored.columns -> name) = 'number' THEN
          abs((raw.columns ->> name)::double precision - (stored.columns ->> name)::double precision)
              > 1e-9 * greatest(1, abs((raw.columns ->> name)::double precision))
      ELSE raw.columns -> name IS DISTINCT FROM stored.columns -> name
  END
ORDER BY device, name

-- audit_latest --
-- Where latest differs from the newest reading in history, column by column. A device whose history retention
-- has dropped is left out. Cost: one look at the end of each device's index, in the newest chunks.
-- Rows: many.
WITH raw AS (
    SELECT $id AS device, to_jsonb(newest) AS reading
    FROM unnest(%(devices)s::text[]) AS device
    CROSS JOIN LATERAL (SELECT $columns FROM $history WHERE $id = device ORDER BY time DESC LIMIT 1) AS newest
), stored AS (
    SELECT $id AS device, time, to_jsonb(latest) - 'received_at' AS reading FROM $latest AS latest
    WHERE $id = ANY (%(devices)s::text[])
)
SELECT device, name AS "column", raw.reading ->> name AS raw, stored.reading ->> name AS stored
FROM raw
FULL JOIN stored USING (device)
CROSS JOIN LATERAL jsonb_object_keys(coalesce(raw.reading, stored.reading)) AS name
WHERE raw.reading -> name IS DISTINCT FROM stored.reading -> name
  AND (raw.reading IS NOT NULL OR EXISTS (
      SELECT FROM timescaledb_information.chunks
      WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
        AND stored.time >= range_start AND stored.time < range_end
  ))
ORDER BY device, name

-- repair_latest --
-- Sets latest from history, and removes what history has nothing of. A reading that arrived meanwhile wins:
-- it changed `received_at`. Cost: as audit_latest, and an update a device.
-- Rows: many. Run once: what it sets may have changed since.
WITH newest AS MATERIALIZED (
    SELECT newest.*
    FROM unnest(%(devices)s::text[]) AS device
    CROSS JOIN LATERAL (SELECT $columns FROM $history WHERE $id = device ORDER BY time DESC LIMIT 1) AS newest
), seen AS MATERIALIZED (
    SELECT $id, received_at FROM $latest WHERE $id = ANY (%(devices)s::text[])
), removed AS (
    DELETE FROM $latest AS latest USING seen
    WHERE latest.$id = seen.$id AND latest.received_at = seen.received_at
      AND seen.$id NOT IN (SELECT $id FROM newest)
)
INSERT INTO $latest AS latest ($columns)
SELECT $columns FROM newest
ORDER BY $id
ON CONFLICT ($id) DO UPDATE SET $set_excluded
WHERE latest.received_at = (SELECT seen.received_at FROM seen WHERE seen.$id = latest.$id)
RETURNING $id
