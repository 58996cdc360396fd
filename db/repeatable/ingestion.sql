-- Stores readings of one stream in history and in latest: all or nothing, each once. Columns come as arrays, sorted by id and time: rows
-- are locked in that order everywhere, history before latest, so that two writers never deadlock. Of two readings with one id and
-- time the first to come counts. `positions` are those of the readings that were not there before, counted from 1; NULL: all of them.
--
-- Duplicates are rare, and to look for each costs a third of all. So it is tried without; the first duplicate takes back what was
-- done, and the readings are stored the careful way. A function, because a session keeps its plans: to plan costs a small
-- batch as much as to store it. For a stream with another column write an overload: old workers call the old one on.

CREATE OR REPLACE FUNCTION ingest_meter(
    meter_ids text[], times timestamptz[], kwhs_consumed_ac double precision[], voltages double precision[],
    OUT positions bigint[]
)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO meter_telemetry (meter_id, time, kwh_consumed_ac, voltage)
    SELECT * FROM unnest(meter_ids, times, kwhs_consumed_ac, voltages);

    INSERT INTO meters_latest AS latest (meter_id, time, kwh_consumed_ac, voltage)
    SELECT id, taken, kwh, volt
    FROM (
        SELECT *, lead(id) OVER () AS next_id
        FROM unnest(meter_ids, times, kwhs_consumed_ac, voltages) AS given (id, taken, kwh, volt)
    ) AS reading
    WHERE next_id IS DISTINCT FROM id
    ON CONFLICT (meter_id) DO UPDATE
    SET time = excluded.time, kwh_consumed_ac = excluded.kwh_consumed_ac, voltage = excluded.voltage, received_at = now()
    WHERE excluded.time > latest.time;
EXCEPTION WHEN unique_violation THEN
    WITH reading AS MATERIALIZED (
        SELECT *
        FROM unnest(meter_ids, times, kwhs_consumed_ac, voltages) WITH ORDINALITY AS given (id, taken, kwh, volt, position)
        ORDER BY position
    ), stored AS (
        INSERT INTO meter_telemetry (meter_id, time, kwh_consumed_ac, voltage)
        SELECT id, taken, kwh, volt FROM reading
        ON CONFLICT (meter_id, time) DO NOTHING
        RETURNING meter_id, time
    ), moved AS (
        INSERT INTO meters_latest AS latest (meter_id, time, kwh_consumed_ac, voltage)
        SELECT DISTINCT ON (id) id, taken, kwh, volt FROM reading
        ORDER BY id, taken DESC, position
        ON CONFLICT (meter_id) DO UPDATE
        SET time = excluded.time, kwh_consumed_ac = excluded.kwh_consumed_ac, voltage = excluded.voltage, received_at = now()
        WHERE excluded.time > latest.time
    )
    SELECT coalesce(array_agg(position), '{}')
    INTO positions
    FROM (
        SELECT min(position) AS position
        FROM stored JOIN reading ON id = meter_id AND taken = time
        GROUP BY id, taken
    ) AS first_of_each;
END
$$;

CREATE OR REPLACE FUNCTION ingest_vehicle(
    vehicle_ids text[], times timestamptz[], socs double precision[], kwhs_delivered_dc double precision[],
    battery_temps double precision[],
    OUT positions bigint[]
)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vehicle_telemetry (vehicle_id, time, soc, kwh_delivered_dc, battery_temp)
    SELECT * FROM unnest(vehicle_ids, times, socs, kwhs_delivered_dc, battery_temps);

    INSERT INTO vehicles_latest AS latest (vehicle_id, time, soc, kwh_delivered_dc, battery_temp)
    SELECT id, taken, charge, kwh, temp
    FROM (
        SELECT *, lead(id) OVER () AS next_id
        FROM unnest(vehicle_ids, times, socs, kwhs_delivered_dc, battery_temps) AS given (id, taken, charge, kwh, temp)
    ) AS reading
    WHERE next_id IS DISTINCT FROM id
    ON CONFLICT (vehicle_id) DO UPDATE
    SET time = excluded.time, soc = excluded.soc, kwh_delivered_dc = excluded.kwh_delivered_dc,
        battery_temp = excluded.battery_temp, received_at = now()
    WHERE excluded.time > latest.time;
EXCEPTION WHEN unique_violation THEN
    WITH reading AS MATERIALIZED (
        SELECT *
        FROM unnest(vehicle_ids, times, socs, kwhs_delivered_dc, battery_temps) WITH ORDINALITY AS given (id, taken, charge, kwh, temp, position)
        ORDER BY position
    ), stored AS (
        INSERT INTO vehicle_telemetry (vehicle_id, time, soc, kwh_delivered_dc, battery_temp)
        SELECT id, taken, charge, kwh, temp FROM reading
        ON CONFLICT (vehicle_id, time) DO NOTHING
        RETURNING vehicle_id, time
    ), moved AS (
        INSERT INTO vehicles_latest AS latest (vehicle_id, time, soc, kwh_delivered_dc, battery_temp)
        SELECT DISTINCT ON (id) id, taken, charge, kwh, temp FROM reading
        ORDER BY id, taken DESC, position
        ON CONFLICT (vehicle_id) DO UPDATE
        SET time = excluded.time, soc = excluded.soc, kwh_delivered_dc = excluded.kwh_delivered_dc,
        battery_temp = excluded.battery_temp, received_at = now()
        WHERE excluded.time > latest.time
    )
    SELECT coalesce(array_agg(position), '{}')
    INTO positions
    FROM (
        SELECT min(position) AS position
        FROM stored JOIN reading ON id = vehicle_id AND taken = time
        GROUP BY id, taken
    ) AS first_of_each;
END
$$;
