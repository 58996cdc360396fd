-- A made-up field of the meter, which readings may leave out.
ALTER TABLE meter_telemetry ADD COLUMN frequency double precision;
ALTER TABLE meters_latest ADD COLUMN frequency double precision;
