-- Corrections of one stream's readings. Each function keeps what was there and mends latest in the same
-- transaction; TimescaleDB notes by its own triggers which hours became stale. They run with their owner's
-- rights: the service may change history by them alone, never without a record.

-- In: a device. Sets its latest reading from history; removes it where history has none.
-- The row is locked before history is read: a reading that arrives meanwhile waits and then moves latest on.
CREATE OR REPLACE FUNCTION mend_latest_$stream(device text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM $latest WHERE $id = device FOR UPDATE;
    DELETE FROM $latest AS latest
    WHERE $id = device AND NOT EXISTS (SELECT FROM $history AS stored WHERE stored.$id = device);
    INSERT INTO $latest ($columns)
    SELECT $columns FROM $history WHERE $id = device ORDER BY time DESC LIMIT 1
    ON CONFLICT ($id) DO UPDATE SET $set_excluded;
END
$$;

-- In: a whole reading, by its columns. Writes its values over the stored ones.
CREATE OR REPLACE FUNCTION overwrite_$stream(reading jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE $history AS stored
    SET $set_measures
    FROM jsonb_populate_record(NULL::$history, reading) AS reading
    WHERE stored.$id = reading.$id AND stored.time = reading.time
      -- As constants, by which TimescaleDB finds the chunk.
      AND stored.$id = (overwrite_$stream.reading ->> '$id')
      AND stored.time = (overwrite_$stream.reading ->> 'time')::timestamptz;
END
$$;

-- In: a stored reading's device and time, and values of its measures by their columns.
-- Out: the correction; NULL: no such reading is stored.
CREATE OR REPLACE FUNCTION replace_$stream(
    of_device text, at timestamptz, measures jsonb, why text, who text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    old  jsonb;
    made bigint;
BEGIN
    PERFORM lock_corrections();
    SELECT to_jsonb(stored) INTO old FROM $history AS stored WHERE $id = of_device AND time = at;
    IF old IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO reading_corrections (stream, device, action, span, reason, author)
    VALUES ('$stream', of_device, 'replace', tstzrange(at, at, '[]'), why, who)
    RETURNING id INTO made;
    INSERT INTO corrected_readings VALUES (made, at, old, old || measures);
    PERFORM overwrite_$stream(old || measures);
    PERFORM mend_latest_$stream(of_device);
    RETURN made;
END
$$;

-- In: a device and a span, [since, until). Removes its readings and keeps them out. Out: how many there were.
CREATE OR REPLACE FUNCTION remove_$stream(
    of_device text, since timestamptz, until timestamptz, why text, who text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    made    bigint;
    removed bigint;
BEGIN
    PERFORM lock_corrections();
    INSERT INTO reading_corrections (stream, device, action, span, reason, author)
    VALUES ('$stream', of_device, 'remove', tstzrange(since, until), why, who)
    RETURNING id INTO made;
    WITH gone AS (
        DELETE FROM $history WHERE $id = of_device AND time >= since AND time < until RETURNING *
    )
    INSERT INTO corrected_readings (correction, time, before)
    SELECT made, gone.time, to_jsonb(gone) FROM gone;
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = 0 THEN
        DELETE FROM reading_corrections WHERE id = made;
        RETURN 0;
    END IF;
    INSERT INTO removed_readings (stream, time, device, correction)
    SELECT '$stream', time, of_device, made FROM corrected_readings WHERE correction = made;
    PERFORM mend_latest_$stream(of_device);
    RETURN removed;
END
$$;

-- In: a correction of this stream that holds. Brings back what was there before it.
CREATE OR REPLACE FUNCTION undo_$stream(of_correction bigint, who text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    undone reading_corrections;
BEGIN
    UPDATE reading_corrections SET undone_at = clock_timestamp(), undone_by = who
    WHERE id = of_correction AND stream = '$stream' AND undone_at IS NULL
    RETURNING * INTO STRICT undone;
    DELETE FROM removed_readings WHERE correction = of_correction;
    IF undone.action = 'replace' THEN
        PERFORM overwrite_$stream(before) FROM corrected_readings WHERE correction = of_correction;
    ELSE
        INSERT INTO $history ($columns)
        SELECT reading.*
        FROM corrected_readings AS corrected
        CROSS JOIN LATERAL (
            SELECT $columns FROM jsonb_populate_record(NULL::$history, corrected.before)
        ) AS reading
        WHERE corrected.correction = of_correction
        ORDER BY reading.time
        ON CONFLICT DO NOTHING;
    END IF;
    PERFORM mend_latest_$stream(undone.device);
END
$$;

-- Who may call these may change history: the owner and, by db/roles.sql, the service.
REVOKE ALL ON FUNCTION replace_$stream(text, timestamptz, jsonb, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION remove_$stream(text, timestamptz, timestamptz, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION undo_$stream(bigint, text) FROM PUBLIC;
