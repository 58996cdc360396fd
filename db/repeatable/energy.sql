-- The energy of one device over a span, exact at both edges (the arithmetic: docs/energy.md).
-- Whole, fresh hours come from the hourly aggregate, everything else from raw through the (id, time) index.
-- Between two pieces lies one more step, from the last value of the earlier to the first of the later.
-- (A plain `bucket <@ hours` would do, but TimescaleDB 2.29 can't plan it: "unsupported datatype in const_to_integral_timeval".)

-- The span as [from, to): timestamps count whole microseconds.
CREATE OR REPLACE FUNCTION half_open(span tstzrange) RETURNS tstzrange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN tstzrange(
    lower(span) + CASE WHEN lower_inc(span) THEN INTERVAL '0' ELSE INTERVAL '1 microsecond' END,
    upper(span) + CASE WHEN upper_inc(span) THEN INTERVAL '1 microsecond' ELSE INTERVAL '0' END
);

-- The whole UTC hours inside a half-open span.
CREATE OR REPLACE FUNCTION whole_hours(span tstzrange) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
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

CREATE OR REPLACE FUNCTION meter_energy(device text, span tstzrange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE
-- Chunks are excluded while planning, so the plan has to know the span.
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    asked   CONSTANT tstzrange      := half_open(span);
    since   CONSTANT timestamptz    := lower(asked);
    before  CONSTANT timestamptz    := upper(asked);
    hours   CONSTANT tstzmultirange := whole_hours(asked) - stale_hours('meter_hourly', asked);
    partial CONSTANT tstzmultirange := tstzmultirange(asked) - hours;
BEGIN
    RETURN QUERY
    WITH piece AS (
        SELECT h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls
        FROM unnest(hours) AS part
        JOIN meter_hourly AS h ON h.bucket >= lower(part) AND h.bucket < upper(part)
        WHERE h.meter_id = device AND h.bucket >= since AND h.bucket < before
        UNION ALL
        SELECT r.time, r.kwh_consumed_ac, r.kwh_consumed_ac, 1, 0, 0
        FROM unnest(partial) AS part
        JOIN meter_telemetry AS r ON r.time >= lower(part) AND r.time < upper(part)
        WHERE r.meter_id = device AND r.time >= since AND r.time < before
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
COMMENT ON FUNCTION meter_energy(text, tstzrange) IS
    'AC energy in kWh that a meter counted over a span (NULL below two readings), its readings, and the falls of its counter';

CREATE OR REPLACE FUNCTION vehicle_energy(device text, span tstzrange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint, avg_battery_temp double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    asked   CONSTANT tstzrange      := half_open(span);
    since   CONSTANT timestamptz    := lower(asked);
    before  CONSTANT timestamptz    := upper(asked);
    hours   CONSTANT tstzmultirange := whole_hours(asked) - stale_hours('vehicle_hourly', asked);
    partial CONSTANT tstzmultirange := tstzmultirange(asked) - hours;
BEGIN
    RETURN QUERY
    WITH piece AS (
        SELECT h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls, h.sum_battery_temp
        FROM unnest(hours) AS part
        JOIN vehicle_hourly AS h ON h.bucket >= lower(part) AND h.bucket < upper(part)
        WHERE h.vehicle_id = device AND h.bucket >= since AND h.bucket < before
        UNION ALL
        SELECT r.time, r.kwh_delivered_dc, r.kwh_delivered_dc, 1, 0, 0, r.battery_temp
        FROM unnest(partial) AS part
        JOIN vehicle_telemetry AS r ON r.time >= lower(part) AND r.time < upper(part)
        WHERE r.vehicle_id = device AND r.time >= since AND r.time < before
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
COMMENT ON FUNCTION vehicle_energy(text, tstzrange) IS
    'DC energy in kWh that a vehicle took over a span (NULL below two readings), its readings, the falls of its counter, mean battery temperature in degrees Celsius';
