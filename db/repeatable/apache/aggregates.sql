-- Stands where Community has what its aggregates have materialized; here that is nothing.
CREATE OR REPLACE VIEW meter_materialized AS SELECT * FROM meter_hourly WHERE false;
CREATE OR REPLACE VIEW vehicle_materialized AS SELECT * FROM vehicle_hourly WHERE false;

-- Nor are hours joined.
DO $$
DECLARE
    stream record;
BEGIN
    FOR stream IN SELECT * FROM (VALUES ('meter', 'sum_voltage'), ('vehicle', 'sum_battery_temp')) AS given (name, sum) LOOP
        EXECUTE format('DROP VIEW IF EXISTS %s_six_hourly', stream.name);
        EXECUTE format(
            $CREATE$
                CREATE VIEW %1$s_six_hourly AS
                SELECT
                    %1$s_id, bucket, first_time, first_kwh, last_kwh,
                    readings::double precision, energy_kwh, falls::double precision, %2$s, %3$s
                FROM %1$s_hourly
                WHERE false
            $CREATE$,
            stream.name, stream.sum,
            (
                SELECT string_agg(format('NULL::double precision AS %s_%s', figure, hour), ', ')
                FROM unnest(ARRAY['readings', 'energy_kwh', 'falls', stream.sum]) AS figure
                CROSS JOIN generate_series(0, 5) AS hour
            )
        );
    END LOOP;
END
$$;
