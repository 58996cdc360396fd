-- How mappings are changed. "In" and "out" say what a function takes and returns; a NULL bound of a span is
-- none: from the beginning, or still. Functions of fewer parameters stay where an older release has made
-- them, for its workers that still run.

-- In: a vehicle. Lets those who change its mappings take turns, until their transactions end.
CREATE OR REPLACE FUNCTION lock_mappings(vehicle text) RETURNS void
LANGUAGE sql
RETURN pg_advisory_xact_lock(hashtextextended('fleetwatt mapping of ' || vehicle, 0));

-- In: who makes the changes of this transaction; NULL: the database's role.
CREATE OR REPLACE FUNCTION sign_mapping_changes(author text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('fleetwatt.author', coalesce(author, ''), true);
END
$$;

-- Keeps each change of a mapping by any role: an update of its span as one row, all else as what was
-- removed and what was added. With the owner's rights: a role that changes mappings may not change what is
-- kept.
CREATE OR REPLACE FUNCTION keep_mapping_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    author CONSTANT text := coalesce(NULLIF(current_setting('fleetwatt.author', true), ''), session_user);
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.vehicle_id, OLD.meter_id) = (NEW.vehicle_id, NEW.meter_id) THEN
        INSERT INTO mapping_changes (author, vehicle_id, meter_id, valid_before, valid_after)
        VALUES (author, NEW.vehicle_id, NEW.meter_id, OLD.valid, NEW.valid);
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO mapping_changes (author, vehicle_id, meter_id, valid_before)
        VALUES (author, OLD.vehicle_id, OLD.meter_id, OLD.valid);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO mapping_changes (author, vehicle_id, meter_id, valid_after)
        VALUES (author, NEW.vehicle_id, NEW.meter_id, NEW.valid);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER mapping_changed
AFTER INSERT OR UPDATE OR DELETE ON vehicle_meter_mapping
FOR EACH ROW EXECUTE FUNCTION keep_mapping_change();

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

-- In: a vehicle and the span of a mapping to be. Out: the newest span in its way; NULL: none. An open mapping
-- is in the way of no other that begins later and is open, too: it ends there.
CREATE OR REPLACE FUNCTION span_in_the_way(vehicle text, span tstzrange) RETURNS tstzrange
LANGUAGE sql STABLE AS $$
    SELECT valid FROM vehicle_meter_mapping
    WHERE vehicle_id = vehicle AND valid && span AND NOT (
        upper_inf(span) AND upper_inf(valid)
        AND coalesce(lower(valid), '-infinity') < coalesce(lower(span), '-infinity')
    )
    ORDER BY valid DESC
    LIMIT 1
$$;

-- In: a vehicle and a span. Cuts the span out of its mappings: what lies before and after stays.
CREATE OR REPLACE FUNCTION clear_mappings(vehicle text, span tstzrange) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    crossed vehicle_meter_mapping;
    parts tstzrange[];
BEGIN
    FOR crossed IN SELECT * FROM vehicle_meter_mapping WHERE vehicle_id = vehicle AND valid && span LOOP
        parts := ARRAY(SELECT unnest(tstzmultirange(crossed.valid) - tstzmultirange(span)));
        IF cardinality(parts) = 0 THEN
            DELETE FROM vehicle_meter_mapping WHERE vehicle_id = vehicle AND valid = crossed.valid;
        ELSE
            UPDATE vehicle_meter_mapping SET valid = parts[1]
            WHERE vehicle_id = vehicle AND valid = crossed.valid;
        END IF;
        IF cardinality(parts) = 2 THEN
            INSERT INTO vehicle_meter_mapping VALUES (vehicle, crossed.meter_id, parts[2]);
        END IF;
    END LOOP;
END
$$;

-- In: a vehicle, a meter, the span of the mapping to be, whether it may cut what is there to make room, and
-- who makes it. Out: the outcome and a span: `created`, `unchanged` where that very mapping is there, or
-- `conflict`, with the span that is in the way.
CREATE OR REPLACE FUNCTION put_mapping(
    vehicle text, meter text, span tstzrange, replacing boolean, author text
)
RETURNS TABLE (outcome text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    blocking tstzrange;
BEGIN
    PERFORM lock_mappings(vehicle), sign_mapping_changes(author);
    IF EXISTS (
        SELECT FROM vehicle_meter_mapping
        WHERE vehicle_id = vehicle AND meter_id = meter AND valid = span
    ) THEN
        RETURN QUERY SELECT 'unchanged', lower(span), upper(span);
        RETURN;
    END IF;
    blocking := span_in_the_way(vehicle, span);
    IF blocking IS NOT NULL AND NOT replacing THEN
        RETURN QUERY SELECT 'conflict', lower(blocking), upper(blocking);
        RETURN;
    END IF;
    PERFORM clear_mappings(vehicle, span);
    INSERT INTO vehicle_meter_mapping VALUES (vehicle, meter, span);
    RETURN QUERY SELECT 'created', lower(span), upper(span);
END
$$;

-- In: as put_mapping, but with both ends of the span. Without a start a vehicle's first mapping is valid from
-- the beginning, later ones from now. Out: as put_mapping, or `empty` where the end is not after now.
CREATE OR REPLACE FUNCTION map_vehicle(
    vehicle text, meter text, since timestamptz, until timestamptz, replacing boolean, author text
)
RETURNS TABLE (outcome text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
    held tstzrange;
BEGIN
    PERFORM lock_mappings(vehicle);
    IF since IS NULL THEN
        moment := moment_after((
            SELECT lower(valid) FROM vehicle_meter_mapping WHERE vehicle_id = vehicle AND upper_inf(valid)
        ));
        SELECT valid INTO held FROM vehicle_meter_mapping
        WHERE vehicle_id = vehicle AND meter_id = meter AND valid @> moment
          AND upper(valid) IS NOT DISTINCT FROM until;
        IF FOUND THEN
            RETURN QUERY SELECT 'unchanged', lower(held), upper(held);
            RETURN;
        END IF;
        since := (SELECT moment WHERE EXISTS (SELECT FROM vehicle_meter_mapping WHERE vehicle_id = vehicle));
    END IF;
    IF until <= since THEN
        RETURN QUERY SELECT 'empty', since, until;
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM put_mapping(vehicle, meter, tstzrange(since, until), replacing, author);
END
$$;

-- In: a vehicle, a time (NULL: now), and who unplugs it. Ends the mapping that holds then. Without a time it
-- takes back those that would begin later, too. Out: the ended one; where none holds, the first of those,
-- empty: it ends where it begins. No row: there was none at all.
CREATE OR REPLACE FUNCTION unplug_vehicle(vehicle text, moment timestamptz, author text)
RETURNS TABLE (meter_id text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    is_now CONSTANT boolean := moment IS NULL;
BEGIN
    PERFORM lock_mappings(vehicle), sign_mapping_changes(author);
    moment := coalesce(moment, clock_timestamp());
    RETURN QUERY
    WITH removed AS (
        DELETE FROM vehicle_meter_mapping
        WHERE vehicle_id = vehicle AND (lower(valid) = moment OR (is_now AND lower(valid) > moment))
        RETURNING meter_id, lower(valid) AS valid_from, lower(valid) AS valid_to
    ), ended AS (
        UPDATE vehicle_meter_mapping SET valid = tstzrange(lower(valid), moment)
        WHERE vehicle_id = vehicle AND valid @> moment AND (lower_inf(valid) OR lower(valid) < moment)
        RETURNING meter_id, lower(valid) AS valid_from, upper(valid) AS valid_to
    )
    SELECT * FROM ended
    UNION ALL
    SELECT * FROM removed
    ORDER BY valid_from NULLS FIRST
    LIMIT 1;
END
$$;
