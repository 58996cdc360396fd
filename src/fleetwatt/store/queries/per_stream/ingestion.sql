-- ingest --
-- Stores readings, sorted by id and time, in history and in latest; positions of the new ones, counted from 1, or null where all are.
-- db/repeatable/ingestion.sql says how. Cost: one index entry a reading, one HOT update a device; its plans are kept by the session.
SELECT positions FROM ingest_$stream($arrays)

-- oldest_accepted --
-- The time before which retention drops raw readings, or null. Cost: one look at the jobs' catalog; the store asks every few seconds.
SELECT now() - max((config ->> 'drop_after')::interval) AS oldest
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema() AND hypertable_name = '$history'
