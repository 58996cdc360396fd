-- Erasure of one device of a stream. The caller needs the right to delete, which the service has not.

-- In: a device. Removes all that is known of it: readings, aggregates, latest, mappings with their changes,
-- the entry in the register, corrections with what they keep. No record stays.
CREATE OR REPLACE FUNCTION erase_$stream(of_device text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    aggregate text;
BEGIN
    PERFORM lock_corrections();
    DELETE FROM $history WHERE $id = of_device;
    -- After history, whose triggers have noted which hours became stale: a refresh finds nothing of it then.
    -- Here, since no refresh may reach hours whose raw readings have been dropped.
    FOR aggregate IN
        SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
        FROM timescaledb_information.continuous_aggregates
        WHERE view_schema = current_schema() AND view_name = '$hourly'
        UNION ALL
        -- What aggregates of before knew; the Apache edition has none.
        SELECT '${hourly}_kept' WHERE to_regclass('${hourly}_kept') IS NOT NULL
    LOOP
        EXECUTE format('DELETE FROM %s WHERE $id = $1', aggregate) USING of_device;
    END LOOP;
    DELETE FROM $latest WHERE $id = of_device;
    DELETE FROM devices WHERE stream = '$stream' AND id = of_device;
    -- What a correction keeps goes with it.
    DELETE FROM reading_corrections WHERE stream = '$stream' AND device = of_device;
    PERFORM erase_mappings('$stream', of_device);
END
$$;
