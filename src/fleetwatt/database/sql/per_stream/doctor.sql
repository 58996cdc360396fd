-- future_chunks --
-- The chunks that begin later than any reading may lie ahead. Cost: one look at the chunks' catalog.
-- Rows: one.
SELECT count(*) AS chunks, min(range_start) AS since
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
  AND range_start > now() + $max_ahead

-- unrefreshed --
-- How many hours of history, up to three ago, the aggregate still lacks readings of. `unreached_…` bounds
-- those that no refresh policy will ever reach. Cost: one look at the invalidation logs.
-- Rows: one.
WITH kept AS (
    SELECT min(range_start) AS since FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
), span AS (
    SELECT tstzrange(since, now() - INTERVAL '3 hours') AS span
    FROM kept
    WHERE since < now() - INTERVAL '3 hours'
), stale AS (
    SELECT part * span AS part FROM span CROSS JOIN LATERAL unnest(stale_hours('$hourly', span)) AS part
), refreshed AS (
    SELECT max(coalesce(now() - (config ->> 'start_offset')::interval, '-infinity')) AS since
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_refresh_continuous_aggregate' AND scheduled
      AND hypertable_schema = current_schema() AND hypertable_name = '$hourly'
)
SELECT
    coalesce(sum(extract(epoch FROM upper(part) - lower(part))) / 3600, 0)::double precision AS hours,
    min(lower(part)) AS since,
    max(upper(part)) AS until,
    min(lower(part)) FILTER (WHERE is_unreached) AS unreached_since,
    max(least(upper(part), refreshed.since)) FILTER (WHERE is_unreached) AS unreached_until
FROM stale
CROSS JOIN refreshed
CROSS JOIN LATERAL (SELECT lower(part) < coalesce(refreshed.since, 'infinity')) AS reach (is_unreached)
