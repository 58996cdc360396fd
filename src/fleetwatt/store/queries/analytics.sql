-- vehicle_window --
-- One vehicle's readings, DC energy and battery temperature over a window, and whether it was ever heard of.
-- Cost: its hours from the aggregate and two partial hours of raw.
SELECT
    energy.*,
    EXISTS (SELECT FROM vehicles_latest WHERE vehicle_id = %(vehicle_id)s)
    OR EXISTS (SELECT FROM vehicle_meter_mapping WHERE vehicle_id = %(vehicle_id)s) AS known
FROM vehicle_energy(%(vehicle_id)s, tstzrange(%(start)s::timestamptz, %(end)s::timestamptz, '(]')) AS energy

-- vehicle_mappings --
-- For each mapping of a vehicle that touches a window: the meter's readings, AC energy and falls, and the vehicle's DC energy
-- in it, and whether another vehicle was on the meter at the same time. Cost: as vehicle_window, twice for each mapping.
SELECT
    meter_id,
    extract(epoch FROM upper(mapped.span) - lower(mapped.span))::double precision AS seconds,
    meter.readings,
    meter.energy_kwh AS ac_kwh,
    meter.falls,
    vehicle.energy_kwh AS dc_kwh,
    EXISTS (
        SELECT FROM vehicle_meter_mapping AS other
        WHERE other.meter_id = mapped.meter_id AND other.vehicle_id <> mapped.vehicle_id AND other.valid && mapped.span
    ) AS shared
FROM (
    SELECT vehicle_id, meter_id, valid, valid * tstzrange(%(start)s::timestamptz, %(end)s::timestamptz, '(]') AS span
    FROM vehicle_meter_mapping
    WHERE vehicle_id = %(vehicle_id)s AND valid && tstzrange(%(start)s::timestamptz, %(end)s::timestamptz, '(]')
) AS mapped
CROSS JOIN LATERAL meter_energy(mapped.meter_id, mapped.span) AS meter
CROSS JOIN LATERAL vehicle_energy(mapped.vehicle_id, mapped.span) AS vehicle
ORDER BY mapped.valid

-- meter_mappings --
-- Who was on a meter, from when to when, in a window. Cost: one look-up in the mapping's index.
SELECT vehicle_id, lower(valid) AS valid_from, upper(valid) AS valid_to
FROM vehicle_meter_mapping
WHERE meter_id = %(meter_id)s AND valid && tstzrange(%(start)s::timestamptz, %(end)s::timestamptz, '(]')
