-- export_spans --
-- The spans of time, a chunk each, in which history has readings between two times. Cost: one look at the
-- chunks' catalog.
-- Rows: many.
SELECT
    greatest(range_start, %(start)s::timestamptz) AS since,
    least(range_end, %(end)s::timestamptz) AS until
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
  AND range_end > coalesce(%(start)s::timestamptz, '-infinity')
  AND range_start < coalesce(%(end)s::timestamptz, 'infinity')
ORDER BY range_start

-- export_page --
-- The readings of a span after one key, by device and time. The second condition on the id says nothing new:
-- it is what columnstore can skip segments by. Cost: one index range scan of one chunk, as long as the page.
-- Rows: many.
SELECT $columns FROM $history
WHERE time >= %(since)s::timestamptz AND time < %(until)s::timestamptz
  AND ($id, time) > (%(after_id)s, %(after_time)s::timestamptz) AND $id >= %(after_id)s
  AND (%(devices)s::text[] IS NULL OR $id = ANY (%(devices)s::text[]))
ORDER BY $id, time
LIMIT %(limit)s

-- register_before --
-- A device's register at its newest reading before a time. Cost: one index look-up a chunk, the newest first.
-- Rows: at most one.
SELECT $counter AS register FROM $history
WHERE $id = %(device)s AND time < %(time)s::timestamptz
ORDER BY time DESC
LIMIT 1
