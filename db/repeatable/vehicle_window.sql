-- One vehicle's window and, in `mappings`, what it drew from each meter that it was on: the meter's readings, AC energy and falls, the
-- vehicle's DC energy meanwhile, and whether another vehicle was on the meter at the same time. In plpgsql with generic plans, so
-- that nothing here is planned twice in a session; what has to know the span is planned further in (per_stream/energy.sql).
CREATE OR REPLACE FUNCTION vehicle_window(device text, since timestamptz, until timestamptz)
RETURNS TABLE (
    readings bigint, energy_kwh double precision, falls bigint, avg_battery_temp double precision, known boolean, mappings json[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
SET plan_cache_mode = force_generic_plan
-- Of no use further in, where TimescaleDB has excluded chunks already.
SET constraint_exclusion = off
SET timescaledb.enable_chunk_append = off
SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
    asked CONSTANT tstzrange := tstzrange(since, until, '(]');
BEGIN
    SELECT * INTO readings, energy_kwh, falls, avg_battery_temp FROM vehicle_energy(device, asked);
    mappings := ARRAY(
        SELECT json_build_object(
            'meter_id', mapped.meter_id,
            'seconds', extract(epoch FROM upper(mapped.span) - lower(mapped.span)),
            'readings', meter.readings,
            'ac_kwh', meter.energy_kwh,
            'falls', meter.falls,
            'dc_kwh', CASE
                WHEN mapped.span = asked THEN vehicle_window.energy_kwh
                ELSE (SELECT meanwhile.energy_kwh FROM vehicle_energy(device, mapped.span) AS meanwhile)
            END,
            'shared', EXISTS (
                SELECT FROM vehicle_meter_mapping AS other
                WHERE other.meter_id = mapped.meter_id AND other.vehicle_id <> device AND other.valid && mapped.span
            )
        )
        FROM (
            SELECT mapping.meter_id, mapping.valid, mapping.valid * asked AS span
            FROM vehicle_meter_mapping AS mapping
            WHERE mapping.vehicle_id = device AND mapping.valid && asked
        ) AS mapped
        CROSS JOIN LATERAL meter_energy(mapped.meter_id, mapped.span) AS meter
        ORDER BY mapped.valid
    );
    known := EXISTS (SELECT FROM vehicles_latest WHERE vehicle_id = device)
        OR EXISTS (SELECT FROM vehicle_meter_mapping WHERE vehicle_id = device);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION vehicle_window(text, timestamptz, timestamptz) IS
    'Readings, DC energy (kWh), counter falls and mean battery temperature (degrees Celsius) of a vehicle over since < time <= until, and its mappings to meters';
