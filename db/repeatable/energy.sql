-- The energy of one device over a span, exact at both edges (the arithmetic: docs/energy.md).
-- Whole, fresh hours come from the hourly aggregate, everything else from raw through the (id, time) index.
-- Between two pieces lies one more step, from the last value of the earlier to the first of the later.
-- (TimescaleDB 2.29 can't plan `bucket <@ hours`, "unsupported datatype in const_to_integral_timeval", but the operator's function.)

-- The span as [from, to): timestamps count whole microseconds. (STABLE, as `timestamptz + interval` is, or it would not be inlined.)
CREATE OR REPLACE FUNCTION half_open(span tstzrange) RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN tstzrange(
    lower(span) + CASE WHEN lower_inc(span) THEN INTERVAL '0' ELSE INTERVAL '1 microsecond' END,
    upper(span) + CASE WHEN upper_inc(span) THEN INTERVAL '1 microsecond' ELSE INTERVAL '0' END
);

-- The whole UTC hours inside a half-open span.
CREATE OR REPLACE FUNCTION whole_hours(span tstzrange) RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN upper(span) - lower(span) >= INTERVAL '1 hour' THEN
        tstzmultirange(tstzrange(
            time_bucket(INTERVAL '1 hour', lower(span) + INTERVAL '1 hour' - INTERVAL '1 microsecond'),
            greatest(
                time_bucket(INTERVAL '1 hour', upper(span)),
                time_bucket(INTERVAL '1 hour', lower(span) + INTERVAL '1 hour' - INTERVAL '1 microsecond')
            )
        ))
    ELSE '{}'::tstzmultirange
END;

-- Of an asked span that is cut already: hours from the aggregate, the rest from raw. Chunks are excluded while planning, so that
-- the plan has to know the span; a plan that didn't would lock every chunk there is. What is planned at each call stands here alone.
CREATE OR REPLACE FUNCTION meter_energy_of(device text, since timestamptz, before timestamptz, hours tstzmultirange, rest tstzmultirange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    WITH piece AS (
        SELECT h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls
        FROM meter_materialized AS h
        WHERE NOT isempty(hours) AND h.meter_id = device AND h.bucket >= since AND h.bucket < before
          AND multirange_contains_elem(hours, h.bucket)
        UNION ALL
        SELECT reading.*
        FROM unnest(rest) AS part
        -- OFFSET keeps the planner from reading the span as a whole.
        CROSS JOIN LATERAL (
            SELECT r.time, r.kwh_consumed_ac, r.kwh_consumed_ac, 1, 0, 0
            FROM meter_telemetry AS r
            WHERE r.meter_id = device AND r.time >= since AND r.time < before AND r.time >= lower(part) AND r.time < upper(part)
            OFFSET 0
        ) AS reading
    ), joined AS (
        SELECT piece.*, first_kwh - lag(last_kwh) OVER (ORDER BY first_time) AS seam_kwh FROM piece
    )
    SELECT
        coalesce(sum(joined.readings), 0)::bigint,
        CASE WHEN sum(joined.readings) >= 2 THEN sum(joined.energy_kwh) + coalesce(sum(seam_kwh) FILTER (WHERE seam_kwh > 0), 0) END,
        coalesce(sum(joined.falls), 0)::bigint + count(*) FILTER (WHERE seam_kwh < 0)
    FROM joined;
END
$$;

CREATE OR REPLACE FUNCTION meter_energy(device text, span tstzrange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
DECLARE
    asked CONSTANT tstzrange      := half_open(span);
    hours CONSTANT tstzmultirange := whole_hours(asked) - stale_hours('meter_hourly', asked);
BEGIN
    RETURN QUERY
    SELECT * FROM meter_energy_of(device, lower(asked), upper(asked), hours, tstzmultirange(asked) - hours);
END
$$;
COMMENT ON FUNCTION meter_energy(text, tstzrange) IS
    'AC energy in kWh that a meter counted over a span (NULL below two readings), its readings, and the falls of its counter';

CREATE OR REPLACE FUNCTION vehicle_energy_of(device text, since timestamptz, before timestamptz, hours tstzmultirange, rest tstzmultirange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint, avg_battery_temp double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    WITH piece AS (
        SELECT h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls, h.sum_battery_temp
        FROM vehicle_materialized AS h
        WHERE NOT isempty(hours) AND h.vehicle_id = device AND h.bucket >= since AND h.bucket < before
          AND multirange_contains_elem(hours, h.bucket)
        UNION ALL
        SELECT reading.*
        FROM unnest(rest) AS part
        -- OFFSET keeps the planner from reading the span as a whole.
        CROSS JOIN LATERAL (
            SELECT r.time, r.kwh_delivered_dc, r.kwh_delivered_dc, 1, 0, 0, r.battery_temp
            FROM vehicle_telemetry AS r
            WHERE r.vehicle_id = device AND r.time >= since AND r.time < before AND r.time >= lower(part) AND r.time < upper(part)
            OFFSET 0
        ) AS reading
    ), joined AS (
        SELECT piece.*, first_kwh - lag(last_kwh) OVER (ORDER BY first_time) AS seam_kwh FROM piece
    )
    SELECT
        coalesce(sum(joined.readings), 0)::bigint,
        CASE WHEN sum(joined.readings) >= 2 THEN sum(joined.energy_kwh) + coalesce(sum(seam_kwh) FILTER (WHERE seam_kwh > 0), 0) END,
        coalesce(sum(joined.falls), 0)::bigint + count(*) FILTER (WHERE seam_kwh < 0),
        sum(sum_battery_temp) / sum(joined.readings)
    FROM joined;
END
$$;

CREATE OR REPLACE FUNCTION vehicle_energy(device text, span tstzrange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint, avg_battery_temp double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
DECLARE
    asked CONSTANT tstzrange      := half_open(span);
    hours CONSTANT tstzmultirange := whole_hours(asked) - stale_hours('vehicle_hourly', asked);
BEGIN
    RETURN QUERY
    SELECT * FROM vehicle_energy_of(device, lower(asked), upper(asked), hours, tstzmultirange(asked) - hours);
END
$$;
COMMENT ON FUNCTION vehicle_energy(text, tstzrange) IS
    'DC energy in kWh that a vehicle took over a span (NULL below two readings), its readings, the falls of its counter, mean battery temperature in degrees Celsius';
