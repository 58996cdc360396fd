-- Stands where Community has what its aggregates have materialized; here that is nothing.
CREATE OR REPLACE VIEW meter_materialized AS SELECT * FROM meter_hourly WHERE false;
CREATE OR REPLACE VIEW vehicle_materialized AS SELECT * FROM vehicle_hourly WHERE false;

-- Nor are hours joined.
CREATE OR REPLACE VIEW meter_six_hourly AS
SELECT meter_id, bucket, first_time, first_kwh, last_kwh, NULL::double precision[] AS hours FROM meter_hourly WHERE false;
CREATE OR REPLACE VIEW vehicle_six_hourly AS
SELECT vehicle_id, bucket, first_time, first_kwh, last_kwh, NULL::double precision[] AS hours FROM vehicle_hourly WHERE false;
