-- The mappings that touch a window. One is `alone` where it spans the whole window and nobody else was on the meter in it: then
-- the meter's figures are the vehicle's. `shared` says that another vehicle was on the meter at the same time.
CREATE OR REPLACE FUNCTION window_mappings(since timestamptz, until timestamptz)
RETURNS TABLE (vehicle_id text, meter_id text, valid tstzrange, span tstzrange, alone boolean, shared boolean)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT
        vehicle_id, meter_id, valid, span, span = span_of_window AND on_meter = 1,
        on_meter > 1 AND EXISTS (
            SELECT FROM vehicle_meter_mapping AS other
            WHERE other.meter_id = mapped.meter_id AND other.vehicle_id <> mapped.vehicle_id AND other.valid && mapped.span
        )
    FROM (
        SELECT mapping.*, valid * span_of_window AS span, span_of_window, count(*) OVER (PARTITION BY meter_id) AS on_meter
        FROM vehicle_meter_mapping AS mapping
        CROSS JOIN (SELECT tstzrange(since, until, '(]')) AS asked (span_of_window)
        WHERE valid && span_of_window
    ) AS mapped
$$;

-- What the mappings of vehicles that moved or shared a meter come to, by vehicle and hour, from raw: each vehicle's share of its meters'
-- energy, the falls and readings that belong to it, and its DC energy inside of its mappings. Consecutive steps of a meter that belong
-- to the same vehicles are a run; its energy is split by the DC energy of each inside the run's span, evenly where there is none.
-- `vehicles` and `meters` are those of the mappings that are not `alone`; NULL, as array_agg() has it: none, and nothing is returned.
DROP FUNCTION IF EXISTS moved_hours(timestamptz, timestamptz);
CREATE OR REPLACE FUNCTION moved_hours(since timestamptz, until timestamptz, vehicles text[], meters text[])
RETURNS TABLE (
    vehicle_id text, hour timestamptz, ac_kwh double precision, meter_readings bigint, meter_falls bigint, metered_kwh double precision
)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE ROWS 1000
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH moved AS MATERIALIZED (
        SELECT mapping.* FROM vehicle_meter_mapping AS mapping
        WHERE meter_id = ANY (meters) AND valid && tstzrange(since, until, '(]')
    ), meter_step AS (
        SELECT * FROM meter_steps(meters, since, until)
    ), vehicle_step AS (
        SELECT * FROM vehicle_steps(vehicles, since, until)
    ), owned AS (
        SELECT step.*, array_agg(moved.vehicle_id ORDER BY moved.vehicle_id) FILTER (WHERE moved.vehicle_id IS NOT NULL) AS owners
        FROM meter_step AS step
        LEFT JOIN moved ON moved.meter_id = step.meter_id AND valid @> earlier AND valid @> time
        WHERE earlier IS NOT NULL
        GROUP BY step.meter_id, time, step.hour, earlier, rise
    ), numbered AS (
        SELECT changing.*, count(*) FILTER (WHERE changes) OVER (PARTITION BY meter_id ORDER BY time) AS run
        FROM (
            SELECT owned.*, owners IS DISTINCT FROM lag(owners) OVER (PARTITION BY meter_id ORDER BY time) AS changes FROM owned
        ) AS changing
    ), delivered AS (
        SELECT meter_id, run, owner, coalesce(sum(rise) FILTER (WHERE rise > 0), 0) AS kwh
        FROM (
            SELECT meter_id, run, owners, min(earlier) AS run_start, max(time) AS run_end
            FROM numbered
            WHERE owners IS NOT NULL
            GROUP BY meter_id, run, owners
        ) AS runs
        CROSS JOIN unnest(owners) AS owner
        LEFT JOIN vehicle_step AS step
            ON cardinality(owners) > 1 AND step.vehicle_id = owner AND earlier >= run_start AND time <= run_end
        GROUP BY meter_id, run, owner
    ), part AS (
        SELECT
            meter_id, run, owner,
            coalesce(quotient(kwh, sum(kwh) OVER all_owners), 1.0 / count(*) OVER all_owners) AS part
        FROM delivered
        WINDOW all_owners AS (PARTITION BY meter_id, run)
    )
    SELECT
        owner, numbered.hour, sum(CASE WHEN rise > 1e-100 THEN rise * part ELSE 0 END), 0::bigint, count(*) FILTER (WHERE rise < 0),
        NULL::double precision
    FROM numbered
    JOIN part USING (meter_id, run)
    GROUP BY owner, numbered.hour
    UNION ALL
    SELECT moved.vehicle_id, step.hour, NULL, count(*), 0, NULL
    FROM meter_step AS step
    JOIN moved ON moved.meter_id = step.meter_id AND valid @> time
    GROUP BY moved.vehicle_id, step.hour
    UNION ALL
    SELECT step.vehicle_id, step.hour, NULL, 0, 0, sum(greatest(rise, 0))
    FROM vehicle_step AS step
    JOIN moved ON moved.vehicle_id = step.vehicle_id AND valid @> earlier AND valid @> time
    GROUP BY step.vehicle_id, step.hour;
END
$$;
