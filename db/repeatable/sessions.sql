-- Charging sessions from the register curve (docs/explanation/energy.md): runs of charging steps of one
-- vehicle on one mapping, between which pauses are no longer than allowed.

-- In: a vehicle and a span of whole UTC hours. Out: its steps that touch the span and charge: the curve rises
-- over them with at least 0.1 kW on average.
CREATE OR REPLACE FUNCTION charging_steps(
    vehicle text, low timestamptz, high timestamptz, otherwise_kw double precision
)
RETURNS TABLE (step tstzrange)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100 AS $$
BEGIN
    RETURN QUERY
    SELECT tstzrange(low + earlier * INTERVAL '1 microsecond', low + first * INTERVAL '1 microsecond')
    FROM vehicle_scanned(vehicle, low, low, high, device_max_kw('vehicle', vehicle, otherwise_kw), NULL, 7)
    WHERE outcome = 'kept' AND earlier IS NOT NULL AND earlier < micros(low, high)
      AND first_rise > 0 AND first_rise * 3.6e9 >= 0.1 * (first - earlier);
END
$$;

-- In: a vehicle. Out: all of time in legs, each on a meter or, where it has none, on NULL.
CREATE OR REPLACE FUNCTION vehicle_legs(vehicle text) RETURNS TABLE (meter_id text, leg tstzrange)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 3 AS $$
    SELECT mapping.meter_id, valid FROM vehicle_meter_mapping AS mapping WHERE vehicle_id = vehicle
    UNION ALL
    SELECT NULL, unmapped
    FROM (
        SELECT '{(,)}'::tstzmultirange - coalesce(range_agg(valid), '{}') AS spans
        FROM vehicle_meter_mapping WHERE vehicle_id = vehicle
    ) AS rest
    CROSS JOIN LATERAL unnest(spans) AS unmapped
$$;

-- In: a vehicle and a span of whole UTC hours. Out: its sessions, as far as the steps that touch the span
-- make them: one that comes within a pause of the span's ends may be longer than it says.
CREATE OR REPLACE FUNCTION vehicle_sessions(
    vehicle text, low timestamptz, high timestamptz, pause interval, otherwise_kw double precision
)
RETURNS TABLE (meter_id text, start timestamptz, "end" timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 3 AS $$
    SELECT run.meter_id, min(lower(part)), max(upper(part))
    FROM (
        SELECT charging.*, count(*) FILTER (WHERE begins) OVER (PARTITION BY leg ORDER BY part) AS number
        FROM (
            SELECT
                legs.meter_id, leg, step * leg AS part,
                coalesce(lower(step * leg) - max(upper(step * leg)) OVER earlier > pause, true) AS begins
            FROM charging_steps(vehicle, low, high, otherwise_kw) AS steps
            JOIN vehicle_legs(vehicle) AS legs ON step && leg
            WINDOW earlier AS (
                PARTITION BY leg ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )
        ) AS charging
    ) AS run
    GROUP BY run.meter_id, leg, number
$$;
