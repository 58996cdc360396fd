-- The aggregates of before make way, and those that 0013 made take their names. What they know of hours that
-- raw has no more is kept: such an hour's register is taken to have risen by the energy that was counted,
-- where it never fell, and to have no glitch.

CREATE TABLE meter_hourly_kept (LIKE meter_hours, PRIMARY KEY (meter_id, bucket));
CREATE TABLE vehicle_hourly_kept (LIKE vehicle_hours, PRIMARY KEY (vehicle_id, bucket));
COMMENT ON TABLE meter_hourly_kept
    IS 'Hours of meters whose raw readings were dropped before they were made as they are';
COMMENT ON TABLE vehicle_hourly_kept
    IS 'Hours of vehicles whose raw readings were dropped before they were made as they are';

INSERT INTO meter_hourly_kept
SELECT
    meter_id, bucket, readings, date_part('epoch', first_time - bucket),
    date_part('epoch', last_time - bucket), first_kwh, last_kwh,
    least(first_kwh, last_kwh), greatest(first_kwh, last_kwh), 0, 0, min_voltage, max_voltage, sum_voltage,
    readings
FROM meter_hourly AS old
WHERE bucket < (
    SELECT coalesce(min(range_start), 'infinity') FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = 'meter_telemetry'
) AND NOT EXISTS (SELECT FROM meter_hours AS new WHERE new.meter_id = old.meter_id
  AND new.bucket = old.bucket);

INSERT INTO vehicle_hourly_kept
SELECT
    vehicle_id, bucket, readings, date_part('epoch', first_time - bucket),
    date_part('epoch', last_time - bucket), first_kwh, last_kwh,
    least(first_kwh, last_kwh), greatest(first_kwh, last_kwh), 0, 0, first_soc, last_soc, min_soc, max_soc,
    min_battery_temp, max_battery_temp, sum_battery_temp, readings
FROM vehicle_hourly AS old
WHERE bucket < (
    SELECT coalesce(min(range_start), 'infinity') FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = 'vehicle_telemetry'
) AND NOT EXISTS (SELECT FROM vehicle_hours AS new WHERE new.vehicle_id = old.vehicle_id
  AND new.bucket = old.bucket);

-- Those of this schema: IF EXISTS alone would look for them in others, too.
DO $$
DECLARE
    made_of_them regclass;
BEGIN
    FOR made_of_them IN
        SELECT oid FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relname IN ('meter_materialized', 'vehicle_materialized')
    LOOP
        EXECUTE format('DROP VIEW %s', made_of_them);
    END LOOP;
END
$$;
DROP MATERIALIZED VIEW meter_six_hourly;
DROP MATERIALIZED VIEW vehicle_six_hourly;
DROP MATERIALIZED VIEW meter_hourly;
DROP MATERIALIZED VIEW vehicle_hourly;
DROP AGGREGATE six_hours(double precision[]);
DROP FUNCTION joined_hours(double precision[]);
ALTER MATERIALIZED VIEW meter_hours RENAME TO meter_hourly;
ALTER MATERIALIZED VIEW vehicle_hours RENAME TO vehicle_hourly;
