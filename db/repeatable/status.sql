-- What the status routes answer: the newest reading of each device, its age and, for a vehicle, its meter.
CREATE OR REPLACE VIEW meter_status AS
SELECT latest.*, extract(epoch FROM now() - latest.time)::double precision AS age_seconds
FROM meters_latest AS latest;

CREATE OR REPLACE VIEW vehicle_status AS
SELECT latest.*, extract(epoch FROM now() - latest.time)::double precision AS age_seconds, mapping.meter_id
FROM vehicles_latest AS latest
LEFT JOIN vehicle_meter_mapping AS mapping ON mapping.vehicle_id = latest.vehicle_id AND mapping.valid @> now();
