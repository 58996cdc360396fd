-- vehicle_window --
-- One vehicle's readings, DC energy and battery temperature over a window, whether it was ever heard of, and what it drew from each
-- meter that it was on. Cost: the vehicle's hours from the aggregate and two partial hours of raw, and the same for each mapping, twice
-- where that is not the whole window.
SELECT * FROM vehicle_window(%(vehicle_id)s, %(start)s::timestamptz, %(end)s::timestamptz)

-- meter_mappings --
-- Who was on a meter, from when to when, in a window. Cost: one look-up in the mapping's index.
SELECT vehicle_id, lower(valid) AS valid_from, upper(valid) AS valid_to
FROM vehicle_meter_mapping
WHERE meter_id = %(meter_id)s AND valid && tstzrange(%(start)s::timestamptz, %(end)s::timestamptz, '(]')
