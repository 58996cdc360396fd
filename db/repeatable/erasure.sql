-- In: a mapping's vehicle and meter, a device. Out: whether the mapping is the device's.
CREATE OR REPLACE FUNCTION is_mapping_of(
    vehicle text, meter text, of_stream text, of_device text
) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN CASE of_stream
    WHEN 'vehicle' THEN vehicle = of_device
    WHEN 'meter' THEN meter = of_device
    ELSE false
END;

-- In: a device. Removes its mappings and all that is kept of them; another device's own history stays.
CREATE OR REPLACE FUNCTION erase_mappings(of_stream text, of_device text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM vehicle_meter_mapping WHERE is_mapping_of(vehicle_id, meter_id, of_stream, of_device);
    -- Afterwards: that removal was kept, too.
    DELETE FROM mapping_changes WHERE is_mapping_of(vehicle_id, meter_id, of_stream, of_device);
END
$$;
