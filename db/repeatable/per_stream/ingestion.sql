-- Stores readings of one stream in history and in latest: all or nothing, each once. Columns come as arrays, sorted by id and time: rows
-- are locked in that order everywhere, history before latest, so that two writers never deadlock. `older` is true where a
-- later reading of the same device follows (of the last none does, and it may be left out); NULL: nowhere. Of two readings with one id
-- and time the first to come counts. `positions` are those of the readings that were not there before, counted from 1; NULL: all of them.
--
-- Duplicates are rare, and to look for each costs a third of all. So it is tried without; the first duplicate takes back what was
-- done, and the readings are stored the careful way. Functions, because a session keeps their plans: to plan costs a small
-- batch as much as to store it. For a stream with another column write an overload: old workers call the old one on. So do they the
-- one without `older`, which stays where an older release has made it.

CREATE OR REPLACE FUNCTION ingest_again_$stream($parameters, OUT positions bigint[])
LANGUAGE plpgsql
SET enable_hashjoin = on AS $$
BEGIN
    WITH reading AS MATERIALIZED (
        SELECT row_number() OVER () AS position, * FROM (SELECT $unnested) AS given
    ), stored AS (
        INSERT INTO $history ($columns)
        SELECT $columns FROM reading
        ON CONFLICT ($id, time) DO NOTHING
        RETURNING $id, time
    ), moved AS (
        INSERT INTO $latest AS latest ($columns)
        SELECT DISTINCT ON ($id COLLATE "C") $columns FROM reading
        ORDER BY $id COLLATE "C", time DESC, position
        ON CONFLICT ($id) DO UPDATE
        SET $set_excluded, received_at = now()
        WHERE excluded.time > latest.time
    )
    SELECT coalesce(array_agg(position), '{}')
    INTO positions
    FROM (
        SELECT min(position) AS position
        FROM stored JOIN reading USING ($id, time)
        GROUP BY $id, time
    ) AS first_of_each;
END
$$;

CREATE OR REPLACE FUNCTION ingest_$stream($parameters, older boolean[], OUT positions bigint[])
LANGUAGE plpgsql
-- MERGE is to look each device up, reading after reading in their order, whatever there was in latest when it was planned.
-- A few readings would else be planned anew each time.
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO $history ($columns)
    SELECT $unnested;

    MERGE INTO $latest AS latest
    USING (
        SELECT * FROM (SELECT $unnested, unnest(older) AS is_older) AS given WHERE is_older IS NOT TRUE
    ) AS reading
    ON latest.$id = reading.$id
    WHEN MATCHED AND reading.time > latest.time THEN UPDATE SET $set_reading, received_at = now()
    WHEN NOT MATCHED THEN INSERT ($columns) VALUES ($columns);
EXCEPTION WHEN unique_violation THEN
    positions := ingest_again_$stream($arguments);
END
$$;
