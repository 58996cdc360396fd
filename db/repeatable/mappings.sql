-- In: a vehicle. Lets those who change its mappings take turns, until their transactions end.
CREATE OR REPLACE FUNCTION lock_mappings(vehicle text) RETURNS void
LANGUAGE sql
RETURN pg_advisory_xact_lock(hashtextextended('fleetwatt mapping of ' || vehicle, 0));

-- In: the start of a vehicle's open mapping. Out: now, or just after that start where it was in this very
-- tick. Not now(), when the transaction began: the call that this one waited for has mapped the vehicle
-- since.
CREATE OR REPLACE FUNCTION moment_after(start timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN start >= moment AND start < moment + INTERVAL '1 millisecond'
            THEN start + INTERVAL '1 microsecond'
        ELSE moment
    END
    FROM (SELECT clock_timestamp() AS moment) AS clock
$$;

-- In: a vehicle, a meter and a start. Puts the vehicle on the meter from then on and closes its open mapping.
-- A vehicle's first mapping is valid since ever, later ones from now, unless `since` says otherwise. Out: the
-- outcome is `created`, `unchanged` where that very mapping holds already, or `conflict` where `since` is not
-- after the start of the open one or lies in an earlier one: then valid_from and valid_to are those of the
-- one in the way.
CREATE OR REPLACE FUNCTION map_vehicle(vehicle text, meter text, since timestamptz)
RETURNS TABLE (outcome text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    current vehicle_meter_mapping;
    moment  timestamptz;
    blocked tstzrange;
    wanted  tstzrange;
BEGIN
    PERFORM lock_mappings(vehicle);

    SELECT * INTO current FROM vehicle_meter_mapping WHERE vehicle_id = vehicle AND upper_inf(valid);
    moment := moment_after(lower(current.valid));
    IF current.meter_id = meter
        AND coalesce(since = lower(current.valid), since IS NULL AND current.valid @> moment)
    THEN
        RETURN QUERY SELECT 'unchanged', lower(current.valid), upper(current.valid);
        RETURN;
    END IF;

    IF since IS NULL AND EXISTS (SELECT FROM vehicle_meter_mapping WHERE vehicle_id = vehicle) THEN
        since := moment;
    END IF;
    wanted := tstzrange(since, NULL);

    SELECT valid INTO blocked FROM vehicle_meter_mapping
    WHERE vehicle_id = vehicle AND valid && wanted AND (NOT upper_inf(valid) OR lower(valid) >= since)
    ORDER BY valid DESC
    LIMIT 1;
    IF FOUND THEN
        RETURN QUERY SELECT 'conflict', lower(blocked), upper(blocked);
        RETURN;
    END IF;

    UPDATE vehicle_meter_mapping SET valid = tstzrange(lower(valid), since)
    WHERE vehicle_id = vehicle AND upper_inf(valid);
    INSERT INTO vehicle_meter_mapping VALUES (vehicle, meter, wanted);
    RETURN QUERY SELECT 'created', since, NULL::timestamptz;
END
$$;

-- In: a vehicle. Closes the mapping that it has now, and takes back those that would begin later. Out: the
-- closed one; where it has none now, the first of those, empty: it ends where it begins. No row: there was
-- none at all.
CREATE OR REPLACE FUNCTION unplug_vehicle(vehicle text)
RETURNS TABLE (meter_id text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz;
BEGIN
    PERFORM lock_mappings(vehicle);
    moment := clock_timestamp();
    RETURN QUERY
    WITH planned AS (
        DELETE FROM vehicle_meter_mapping WHERE vehicle_id = vehicle AND lower(valid) >= moment
        RETURNING meter_id, lower(valid) AS valid_from, lower(valid) AS valid_to
    ), closed AS (
        UPDATE vehicle_meter_mapping SET valid = tstzrange(lower(valid), moment)
        WHERE vehicle_id = vehicle AND valid @> moment AND (lower_inf(valid) OR lower(valid) < moment)
        RETURNING meter_id, lower(valid) AS valid_from, upper(valid) AS valid_to
    )
    SELECT * FROM closed
    UNION ALL
    SELECT * FROM planned
    ORDER BY valid_from NULLS FIRST
    LIMIT 1;
END
$$;
