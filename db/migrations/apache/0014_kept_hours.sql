-- The views of before make way, and those that 0013 made take their names.
-- Those of this schema: IF EXISTS alone would look for them in others, too.
DO $$
DECLARE
    made_of_them regclass;
BEGIN
    FOR made_of_them IN
        SELECT oid FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
          AND relname IN ('meter_materialized', 'vehicle_materialized', 'meter_six_hourly', 'vehicle_six_hourly')
    LOOP
        EXECUTE format('DROP VIEW %s', made_of_them);
    END LOOP;
END
$$;
DROP VIEW meter_hourly, vehicle_hourly;
ALTER VIEW meter_hours RENAME TO meter_hourly;
ALTER VIEW vehicle_hours RENAME TO vehicle_hourly;
