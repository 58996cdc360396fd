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
-- Devices are looked up in latest by one scan of its index (from PostgreSQL 17 on it reads each page once), and so moved in their order,
-- whatever there was in latest when it was planned; a few readings would else be planned anew each time.
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET enable_bitmapscan = off AS $$
DECLARE
    moved bigint;
BEGIN
    INSERT INTO $history ($columns)
    SELECT $unnested;

    UPDATE $latest AS latest
    SET $set_reading, received_at = now()
    FROM (
        SELECT * FROM (SELECT $unnested, unnest(older) AS is_older) AS given WHERE is_older IS NOT TRUE
    ) AS reading
    WHERE latest.$id = ANY (${id}s) AND latest.$id = reading.$id AND latest.time < reading.time;

    GET DIAGNOSTICS moved = ROW_COUNT;
    -- Who was not moved has sent something old, or is not in latest yet.
    IF moved < cardinality(${id}s) - coalesce(cardinality(array_positions(older, true)), 0) THEN
        INSERT INTO $latest ($columns)
        SELECT $columns FROM (SELECT $unnested, unnest(older) AS is_older) AS reading
        WHERE is_older IS NOT TRUE
          AND $id <> ALL (ARRAY(SELECT latest.$id FROM $latest AS latest WHERE latest.$id = ANY (${id}s)));
    END IF;
EXCEPTION WHEN unique_violation THEN
    positions := ingest_again_$stream($arguments);
END
$$;
