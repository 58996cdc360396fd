-- Stands where Community has what its aggregate has materialized; here that is nothing.
CREATE OR REPLACE VIEW ${stream}_materialized AS SELECT * FROM $hourly WHERE false;

-- Nor are hours joined.
DO $DO$
DECLARE
    of_hours text := (
        SELECT string_agg(format('NULL::double precision AS %s_%s', name, hour), ', ')
        FROM unnest(ARRAY['readings', 'energy_kwh', 'falls', 'sum_$mean']) AS name
        CROSS JOIN generate_series(0, 5) AS hour
    );
BEGIN
    DROP VIEW IF EXISTS $six_hourly;
    EXECUTE $$
        CREATE VIEW $six_hourly AS
        SELECT
            $id, bucket, first_time, first_kwh, last_kwh, readings::double precision, energy_kwh,
            falls::double precision, sum_$mean, $$ || of_hours || $$
        FROM $hourly
        WHERE false
    $$;
END
$DO$;
