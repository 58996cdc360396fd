-- Stands where Community has what its aggregates have materialized; here that is nothing, and nobody asks.
CREATE OR REPLACE VIEW meter_materialized AS SELECT * FROM meter_hourly;
CREATE OR REPLACE VIEW vehicle_materialized AS SELECT * FROM vehicle_hourly;
