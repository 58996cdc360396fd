-- replace_reading --
-- Replaces a stored reading's measures and keeps what was there; the correction's id, or null where none is
-- stored. Cost: a few index look-ups, in a columnstore chunk a batch that is unpacked.
-- Rows: one. Run once: a second run is a correction of its own.
SELECT replace_$stream(
    %(device)s, %(time)s::timestamptz, %(measures)s::jsonb, %(reason)s, %(author)s
) AS correction

-- remove_readings --
-- Removes a device's readings of a span, [start, end), and keeps them out; how many there were. Cost: one
-- index range scan of raw, and as many rows deleted and written.
-- Rows: one. Run once: a second run finds nothing to remove.
SELECT remove_$stream(
    %(device)s, %(start)s::timestamptz, %(end)s::timestamptz, %(reason)s, %(author)s
) AS removed

-- count_readings --
-- How many readings of a device a span, [start, end), has. Cost: one index range scan of raw.
-- Rows: one.
SELECT count(*) AS readings FROM $history
WHERE $id = %(device)s AND time >= %(start)s::timestamptz AND time < %(end)s::timestamptz

-- undo_correction --
-- Takes a correction back. Cost: as the correction's own.
-- Rows: one. Run once: a second run finds it undone.
SELECT undo_$stream(%(correction)s::bigint, %(author)s)::text AS undone

-- raw_dropped_before --
-- The time before which raw readings have been dropped that aggregates still have; null: none were. Cost: one
-- look at a table of a row a stream.
-- Rows: one.
SELECT raw_dropped_before('$history') AS dropped_before
