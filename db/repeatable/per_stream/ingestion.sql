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
-- that are not there. Fails, so that the writer retries, where another transaction has made one of them
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

-- In: ids and times of readings. Out: whether a correction keeps one of them out.
-- Most databases have no such reading, and most batches none of its time: then nothing is joined.
CREATE OR REPLACE FUNCTION has_removed_$stream(${id}s text[], times timestamptz[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM removed_readings WHERE stream = '$stream')
        AND EXISTS (
            SELECT FROM removed_readings
            WHERE stream = '$stream'
              AND time >= (SELECT min(t) FROM unnest(times) AS t)
              AND time <= (SELECT max(t) FROM unnest(times) AS t)
        )
        AND EXISTS (
            SELECT FROM (SELECT unnest(${id}s) AS device, unnest(times) AS time) AS reading
            JOIN removed_readings AS removed USING (device, time)
            WHERE removed.stream = '$stream'
        );
END
$$;

-- In: ids and times of readings. Out: the positions, counted from 1, of those that a correction keeps out;
-- '{}': of none.
CREATE OR REPLACE FUNCTION kept_out_$stream(${id}s text[], times timestamptz[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET enable_nestloop = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT position
        FROM unnest(${id}s, times) WITH ORDINALITY AS reading (device, time, position)
        JOIN removed_readings AS removed USING (device, time)
        WHERE stream = '$stream'
        ORDER BY position
    );
END
$$;

-- In: readings that history has. Out: of each whose values differ from the stored ones its position, counted
-- from 1, and the stored reading; NULL: there is none.
CREATE OR REPLACE FUNCTION conflicts_$stream($parameters) RETURNS jsonb
LANGUAGE plpgsql STABLE
-- What is joined may be 10,000 readings, which no plan knows.
SET enable_nestloop = off AS $$
DECLARE
    -- As values, by which TimescaleDB leaves chunks out.
    earliest CONSTANT timestamptz := (SELECT min(t) FROM unnest(times) AS t);
    newest   CONSTANT timestamptz := (SELECT max(t) FROM unnest(times) AS t);
BEGIN
    RETURN (
        SELECT jsonb_agg(jsonb_build_array(position, to_jsonb(stored)) ORDER BY position)
        FROM unnest($arguments) WITH ORDINALITY AS reading ($columns, position)
        JOIN $history AS stored USING ($id, time)
        WHERE stored.$id = ANY (${id}s) AND stored.time BETWEEN earliest AND newest
          AND ROW($stored_measures) IS DISTINCT FROM ROW($reading_measures)
    );
END
$$;

-- In: readings, several of one device among them, and the positions of those that do not count. Moves latest
-- forward to the last of each device.
CREATE OR REPLACE FUNCTION move_latest_to_last_$stream($parameters, removed bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM move_latest_$stream($gathered)
    FROM (
        SELECT DISTINCT ON ($id COLLATE "C") $columns
        FROM unnest($arguments) WITH ORDINALITY AS reading ($columns, position)
        WHERE position <> ALL (removed)
        ORDER BY $id COLLATE "C", time DESC, position
    ) AS last_of_each
    HAVING count(*) > 0;
END
$$;

-- In: readings, some of which history may have, and some of which a correction may keep out. Stores the
-- others. Out: the positions of those that it stored and of those that are kept out, counted from 1, and the
-- conflicts.
CREATE OR REPLACE FUNCTION store_carefully_$stream(
    $parameters, OUT positions bigint[], OUT removed bigint[], OUT conflicts jsonb
)
LANGUAGE plpgsql
SET enable_nestloop = off AS $$
#variable_conflict use_column
BEGIN
    removed := kept_out_$stream(${id}s, times);
    WITH reading AS MATERIALIZED (
        SELECT * FROM unnest($arguments) WITH ORDINALITY AS given ($columns, position)
        WHERE position <> ALL (removed)
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

    -- Statements of their own see what others have committed and this one has stored meanwhile.
    IF has_removed_$stream(
        ARRAY(SELECT ${id}s[stored_at] FROM unnest(positions) AS stored_at),
        ARRAY(SELECT times[stored_at] FROM unnest(positions) AS stored_at)
    ) THEN
        RAISE serialization_failure USING MESSAGE = 'a correction has just removed one of these readings';
    END IF;
    conflicts := conflicts_$stream($arguments);

    PERFORM move_latest_to_last_$stream($arguments, removed);
END
$$;

-- In: readings, and of each whether a later one of the same device follows (of the last none does, and it may
-- be left out; NULL: nowhere). Out: the positions, counted from 1, of those that were not there before (NULL:
-- all) and of those that a correction keeps out; the conflicts.
CREATE OR REPLACE FUNCTION store_$stream(
    $parameters, older boolean[], OUT positions bigint[], OUT removed bigint[], OUT conflicts jsonb
)
LANGUAGE plpgsql
-- A few readings would else be planned again each time.
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    INSERT INTO $history ($columns)
    SELECT $unnested;
    -- After the insertion: one that waited for a correction to end sees what it removed.
    IF has_removed_$stream(${id}s, times) THEN
        RAISE unique_violation USING MESSAGE = 'a correction keeps one of these readings out';
    END IF;

    IF older IS NULL THEN
        PERFORM move_latest_$stream($arguments);
    ELSE
        PERFORM move_latest_$stream($gathered)
        FROM (SELECT $unnested, unnest(older) AS is_older) AS reading
        WHERE is_older IS NOT TRUE;
    END IF;
EXCEPTION WHEN unique_violation THEN
    SELECT careful.positions, careful.removed, careful.conflicts
    INTO store_$stream.positions, store_$stream.removed, store_$stream.conflicts
    FROM store_carefully_$stream($arguments) AS careful;
END
$$;
