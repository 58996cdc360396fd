-- map_vehicle --
-- Puts a vehicle on a meter and closes its open mapping. Cost: a few look-ups in the mapping's indexes.
-- Rows: one. Run once: a second run says that the mapping was open already.
SELECT outcome, %(vehicle_id)s AS vehicle_id, %(meter_id)s AS meter_id, valid_from, valid_to
FROM map_vehicle(%(vehicle_id)s, %(meter_id)s, %(valid_from)s::timestamptz)

-- unplug_vehicle --
-- Closes the mapping that a vehicle has now, and takes back those that would begin later. Cost: two look-ups
-- in the mapping's index.
-- Rows: at most one. Run once: a second run finds nothing to close.
SELECT %(vehicle_id)s AS vehicle_id, meter_id, valid_from, valid_to FROM unplug_vehicle(%(vehicle_id)s)

-- mappings --
-- A page of the history of mappings, of all or of one vehicle or meter, after a vehicle's mapping with a
-- start (NULL: since ever). Cost: one look-up, or where nothing is named the whole table, of which the page's
-- rows are sorted.
-- Rows: many.
SELECT vehicle_id, meter_id, lower(valid) AS valid_from, upper(valid) AS valid_to
FROM vehicle_meter_mapping
WHERE (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(meter_id)s::text IS NULL OR meter_id = %(meter_id)s)
  AND (%(after_vehicle)s::text IS NULL OR vehicle_id > %(after_vehicle)s COLLATE "C"
       OR (vehicle_id = %(after_vehicle)s
           AND coalesce(lower(valid), '-infinity') > coalesce(%(after_start)s::timestamptz, '-infinity')))
ORDER BY vehicle_id, lower(valid) NULLS FIRST
LIMIT %(limit)s
