-- store --
-- Stores readings, sorted by id and time, in history and in latest. Positions, from 1, of the new ones (null:
-- all) and of those that corrections keep out; conflicts with what is stored.
-- db/repeatable/per_stream/ingestion.sql says how. Cost: one index entry a reading, one HOT update a device;
-- its plans are kept by the session.
-- Rows: one.
SELECT positions, removed, conflicts FROM store_$stream($arrays, %(${stream}_older)s::boolean[])

-- removed --
-- The positions, from 1, of readings that corrections keep out. Cost: a look-up for each reading, where there
-- are any such readings.
-- Rows: many.
SELECT position
FROM unnest(%(ids)s::text[], %(times)s::timestamptz[]) WITH ORDINALITY AS reading (device, time, position)
JOIN removed_readings USING (device, time)
WHERE stream = '$stream'
ORDER BY position

-- oldest_accepted --
-- The time before which retention drops raw readings, or null. Cost: one look at the jobs' catalog; the store
-- asks every few seconds.
-- Rows: at most one.
SELECT greatest(now() - drop_after, dropped_before) AS oldest FROM retention WHERE table_name = '$history'
