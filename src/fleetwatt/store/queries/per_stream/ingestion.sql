-- ingest --
-- Stores readings in history, each once, and moves latest forward: one statement, so all or nothing.
-- Sorted by id and time, so that two writers lock rows in the same order and never deadlock. History comes first:
-- who stores a reading there has the right to put it into latest. Cost: one index entry a reading, one HOT update a device.
WITH reading AS MATERIALIZED (
    SELECT * FROM unnest($arrays) WITH ORDINALITY AS given ($columns, position)
    ORDER BY $id, time, position
), stored AS (
    INSERT INTO $history ($columns)
    SELECT $columns FROM reading
    ON CONFLICT ($id, time) DO NOTHING
    RETURNING $id, time
), moved AS (
    INSERT INTO $latest AS latest ($columns)
    SELECT DISTINCT ON ($id) $columns FROM reading
    ORDER BY $id, time DESC, position
    ON CONFLICT ($id) DO UPDATE SET $updates, received_at = now()
    WHERE excluded.time > latest.time
)
SELECT
    count(*) AS accepted,
    -- Only where some were there before is it worth knowing which.
    CASE WHEN count(*) < (SELECT count(*) FROM reading) THEN (
        SELECT array_agg(position) FROM (
            SELECT DISTINCT ON ($id, time) position FROM reading JOIN stored USING ($id, time)
            ORDER BY $id, time, position
        ) AS first_of_each
    ) END AS positions
FROM stored

-- oldest_accepted --
-- The time before which retention drops raw readings, or null. Cost: one look at the jobs' catalog; the store asks every few seconds.
SELECT now() - max((config ->> 'drop_after')::interval) AS oldest
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema() AND hypertable_name = '$history'
