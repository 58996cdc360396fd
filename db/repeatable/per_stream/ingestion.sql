-- Stores readings of one stream in history and in latest: all or nothing, each once.
--
-- Columns come as arrays, sorted by id and time: rows are locked in that order everywhere, history before
-- latest, so that two writers never deadlock. Of two readings with one id and time the first to come counts.
--
-- Duplicates are rare, and to look for each costs a third of all. So it is tried without; the first duplicate
-- takes back what was done, and the readings are stored the careful way. Functions, because a session keeps
-- their plans: to plan costs a small batch as much as to store it. For a stream with another column write an
-- overload: old workers call the old one on. So do they the one without `older`, which stays where an older
-- release has made it.

-- In: the newest readings of devices, sorted by id, of which latest may have some. Makes the rows of devices
-- that are not there. Fails, so that the writer tries again, where another transaction has made one of them
-- in between: to lock a row that is there now would lock rows out of order.
CREATE OR REPLACE FUNCTION add_latest_$stream($parameters) RETURNS void
LANGUAGE plpgsql
-- The index is to be walked, in its order, whatever there was in latest when this was planned.
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET enable_bitmapscan = off AS $$
DECLARE
    is_raced boolean;
BEGIN
    WITH behind AS MATERIALIZED (
        SELECT $columns
        FROM (SELECT $unnested) AS reading
        WHERE NOT EXISTS (
            SELECT FROM $latest AS latest
            WHERE latest.$id = reading.$id AND latest.$id = ANY (${id}s) AND latest.time >= reading.time
        )
    ), made AS (
        INSERT INTO $latest ($columns)
        SELECT $columns FROM behind ORDER BY $id COLLATE "C"
        ON CONFLICT DO NOTHING
        RETURNING $id
    )
    SELECT (SELECT count(*) FROM made) < (SELECT count(*) FROM behind)
    INTO is_raced;
    IF is_raced THEN
        RAISE serialization_failure USING
            MESSAGE = 'another transaction has just stored the first reading of one of these devices';
    END IF;
END
$$;

-- In: the newest readings of devices, sorted by id. Moves latest forward to those that are newer.
--
-- Devices that are there are found by one walk through their index. By a few hundred at a time, as PostgreSQL
-- goes through the array again for each row that another transaction has just moved. Those that are not there
-- come second. Either time rows are locked in the order of ids, and of those that are there none the second
-- time.
CREATE OR REPLACE FUNCTION move_latest_$stream($parameters) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET enable_bitmapscan = off AS $$
DECLARE
    size CONSTANT integer := 250;
    some_ids text[];
    some_moved bigint;
    moved bigint := 0;
BEGIN
    FOR i IN 1 .. cardinality(${id}s) BY size LOOP
        some_ids := ${id}s[i:i + size - 1];
        UPDATE $latest AS latest
        SET $set_reading, received_at = now()
        FROM (SELECT $some_unnested) AS reading
        WHERE latest.$id = reading.$id AND latest.$id = ANY (some_ids) AND reading.time > latest.time;
        GET DIAGNOSTICS some_moved = ROW_COUNT;
        moved := moved + some_moved;
    END LOOP;
    IF moved < cardinality(${id}s) THEN
        PERFORM add_latest_$stream($arguments);
    END IF;
END
$$;

-- In: readings, some of which history may have. Stores the others. Out: the positions of those that it
-- stored, counted from 1.
CREATE OR REPLACE FUNCTION ingest_again_$stream($parameters, OUT positions bigint[])
LANGUAGE plpgsql
-- What is joined may be 10,000 readings, which no plan knows.
SET enable_nestloop = off AS $$
BEGIN
    WITH reading AS MATERIALIZED (
        SELECT * FROM unnest($arguments) WITH ORDINALITY AS given ($columns, position)
    ), stored AS (
        INSERT INTO $history ($columns)
        SELECT $columns FROM reading
        ON CONFLICT ($id, time) DO NOTHING
        RETURNING $id, time
    )
    SELECT coalesce(array_agg(position), '{}')
    INTO positions
    FROM (
        SELECT min(position) AS position
        FROM stored JOIN reading USING ($id, time)
        GROUP BY $id, time
    ) AS first_of_each;

    PERFORM move_latest_$stream($gathered)
    FROM (
        SELECT DISTINCT ON ($id COLLATE "C") $columns
        FROM unnest($arguments) WITH ORDINALITY AS reading ($columns, position)
        ORDER BY $id COLLATE "C", time DESC, position
    ) AS last_of_each;
END
$$;

-- In: readings, and of each whether a later one of the same device follows (of the last none does, and it may
-- be left out; NULL: nowhere). Out: the positions of those that were not there before, counted from 1; NULL:
-- all of them.
CREATE OR REPLACE FUNCTION ingest_$stream($parameters, older boolean[], OUT positions bigint[])
LANGUAGE plpgsql
-- A few readings would else be planned anew each time.
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    INSERT INTO $history ($columns)
    SELECT $unnested;

    IF older IS NULL THEN
        PERFORM move_latest_$stream($arguments);
    ELSE
        PERFORM move_latest_$stream($gathered)
        FROM (SELECT $unnested, unnest(older) AS is_older) AS reading
        WHERE is_older IS NOT TRUE;
    END IF;
EXCEPTION WHEN unique_violation THEN
    positions := ingest_again_$stream($arguments);
END
$$;
