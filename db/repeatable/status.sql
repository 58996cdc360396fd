-- What the status routes answer: the newest reading of each device, its age and, for a vehicle, its meter.
CREATE OR REPLACE VIEW meter_status AS
SELECT latest.*, extract(epoch FROM now() - latest.time)::double precision AS age_seconds
FROM meters_latest AS latest;

CREATE OR REPLACE VIEW vehicle_status AS
SELECT latest.*, extract(epoch FROM now() - latest.time)::double precision AS age_seconds, mapping.meter_id
FROM vehicles_latest AS latest
LEFT JOIN vehicle_meter_mapping AS mapping ON mapping.vehicle_id = latest.vehicle_id AND mapping.valid @> now();

-- One device's status. In plpgsql, which plans once a session: to plan it takes longer than to look it up.
CREATE OR REPLACE FUNCTION meter_status_of(device text) RETURNS SETOF meter_status
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
BEGIN
    RETURN QUERY SELECT * FROM meter_status WHERE meter_id = device;
END
$$;

CREATE OR REPLACE FUNCTION vehicle_status_of(device text) RETURNS SETOF vehicle_status
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
BEGIN
    RETURN QUERY SELECT * FROM vehicle_status WHERE vehicle_id = device;
END
$$;
