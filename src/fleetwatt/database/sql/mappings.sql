-- map_vehicle --
-- Puts a vehicle on a meter over a span, and ends its open mapping there. `replacing` cuts what is there to
-- make room; otherwise that is a conflict. `warnings` names the two where they are neither registered nor
-- have reported. Cost: a few look-ups in the mapping's indexes and by primary key, and a row of its changes
-- for each mapping that is changed.
-- Rows: one. Run once: a second run says that the mapping was there already.
SELECT
    outcome, %(vehicle_id)s AS vehicle_id, %(meter_id)s AS meter_id, valid_from, valid_to,
    ARRAY(
        SELECT 'unknown_' || stream
        FROM (VALUES ('meter', %(meter_id)s), ('vehicle', %(vehicle_id)s)) AS given (stream, device)
        WHERE NOT EXISTS (
            SELECT FROM devices WHERE devices.stream = given.stream AND id = device
            UNION ALL SELECT FROM meters_latest WHERE given.stream = 'meter' AND meter_id = device
            UNION ALL SELECT FROM vehicles_latest WHERE given.stream = 'vehicle' AND vehicle_id = device
        )
    ) AS warnings
FROM map_vehicle(
    %(vehicle_id)s, %(meter_id)s, %(valid_from)s::timestamptz, %(valid_to)s::timestamptz,
    %(replacing)s::boolean, %(author)s
)

-- put_mappings --
-- Puts vehicles on meters over spans, each as map_vehicle does with both ends named; NULL: from the
-- beginning, or still. They come sorted by vehicle, or two at once may block each other; what became of each
-- comes in the same order. Cost: as map_vehicle for each.
-- Rows: one. Run once: a second run says that the mappings were there already.
SELECT
    array_agg(outcome ORDER BY position) AS outcomes,
    array_agg(valid_from ORDER BY position) AS starts,
    array_agg(valid_to ORDER BY position) AS ends
FROM unnest(
    %(vehicle_ids)s::text[], %(meter_ids)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]
) WITH ORDINALITY AS given (vehicle, meter, since, until, position)
CROSS JOIN LATERAL put_mapping(
    vehicle, meter, tstzrange(since, until), %(replacing)s::boolean, %(author)s
)

-- unplug_vehicle --
-- Ends the mapping that a vehicle has at a time. Where that is NULL: the one that it has now, and what would
-- begin later is taken back. Cost: two look-ups in the mapping's index, and a row of its changes for each.
-- Rows: at most one. Run once: a second run finds nothing to end.
SELECT %(vehicle_id)s AS vehicle_id, meter_id, valid_from, valid_to
FROM unplug_vehicle(%(vehicle_id)s, %(at)s::timestamptz, %(author)s)

-- mappings --
-- A page of the history of mappings, of all or of one vehicle or meter, after a vehicle's mapping with a
-- start (NULL: from the beginning). Cost: one look-up, or where nothing is named the whole table, of which
-- the page's rows are sorted.
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

-- mapping_changes --
-- The changes of mappings before one of them, the newest first, of all or of one vehicle or meter: when each
-- was valid before and after; NULL on one side: it was not there. Cost: one index range scan, as long as the
-- page.
-- Rows: many.
SELECT
    id, changed_at, author, vehicle_id, meter_id,
    valid_before IS NOT NULL AS is_there_before, valid_after IS NOT NULL AS is_there_after,
    lower(valid_before) AS from_before, upper(valid_before) AS to_before,
    lower(valid_after) AS from_after, upper(valid_after) AS to_after
FROM mapping_changes
WHERE (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(meter_id)s::text IS NULL OR meter_id = %(meter_id)s)
  AND (%(after)s::bigint IS NULL OR id < %(after)s)
ORDER BY id DESC
LIMIT %(limit)s
