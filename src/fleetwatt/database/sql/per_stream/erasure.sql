-- traces --
-- How much is known of a device, by what it is. Cost: one index range scan of raw and of the hourly
-- aggregate, one walk through mappings and their changes.
-- Rows: one.
SELECT
    (SELECT count(*) FROM $history WHERE $id = %(device)s) AS readings,
    (SELECT count(*) FROM $hourly WHERE $id = %(device)s) AS hours,
    (SELECT count(*) FROM $latest WHERE $id = %(device)s) AS latest,
    (SELECT count(*) FROM devices WHERE stream = '$stream' AND id = %(device)s) AS entries,
    (
        SELECT count(*) FROM reading_corrections
        WHERE stream = '$stream' AND device = %(device)s
    ) AS corrections,
    (
        SELECT count(*) FROM vehicle_meter_mapping
        WHERE is_mapping_of(vehicle_id, meter_id, '$stream', %(device)s)
    ) AS mappings,
    (
        SELECT count(*) FROM mapping_changes
        WHERE is_mapping_of(vehicle_id, meter_id, '$stream', %(device)s)
    ) AS mapping_changes

-- erase --
-- Removes all that is known of a device. Cost: an index range scan of raw and of each aggregate, and as many
-- rows deleted.
-- Rows: one. Run once: a second run finds nothing to remove.
SELECT erase_$stream(%(device)s)::text AS erased
