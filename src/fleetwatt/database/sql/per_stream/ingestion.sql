-- ingest --
-- Stores readings, sorted by id and time, in history and in latest; positions of the new ones, from 1, or
-- null where all are new. db/repeatable/per_stream/ingestion.sql says how. Cost: one index entry a reading,
-- one HOT update a device; its plans are kept by the session.
-- Rows: one.
SELECT positions FROM ingest_$stream($arrays, %(${stream}_older)s::boolean[])

-- oldest_accepted --
-- The time before which retention drops raw readings, or null. Cost: one look at the jobs' catalog; the store
-- asks every few seconds.
-- Rows: at most one.
SELECT greatest(now() - drop_after, dropped_before) AS oldest FROM retention WHERE table_name = '$history'
