-- The six-hourly aggregates with a column for each figure of each hour, which sum up in a third of the time that an array's elements take.
-- They are made anew, with the policies they had by default; their job's next run fills them, and until then answers about the fleet add up hours.

DROP MATERIALIZED VIEW meter_six_hourly;
DROP MATERIALIZED VIEW vehicle_six_hourly;
DROP FUNCTION six_hours(double precision[]);

-- Six hours in one: {readings, energy in kWh, falls, sum of the mean's values}, each {hour 0, …, hour 5, all of them}. Given are the
-- hours that have readings, in order, one behind the other: each its number, first kWh, last kWh, and the four. An hour's energy and falls
-- have the step from the hour before within the six, too; its energy is NULL where no step ends in it.
CREATE FUNCTION joined_hours(hours double precision[]) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    number   integer;
    last     double precision;
    readings double precision[] := '{0, 0, 0, 0, 0, 0, 0}';
    energy   double precision[] := '{NULL, NULL, NULL, NULL, NULL, NULL, NULL}';
    falls    double precision[] := '{0, 0, 0, 0, 0, 0, 0}';
    sums     double precision[] := '{NULL, NULL, NULL, NULL, NULL, NULL, 0}';
BEGIN
    FOR hour IN 1..cardinality(hours) BY 7 LOOP
        number := hours[hour] + 1;
        readings[number] := hours[hour + 3];
        energy[number] := CASE
            WHEN hours[hour + 3] > 1 OR last IS NOT NULL THEN hours[hour + 4] + greatest(hours[hour + 1] - last, 0)
        END;
        falls[number] := hours[hour + 5] + coalesce(hours[hour + 1] < last, false)::integer;
        sums[number] := hours[hour + 6];
        readings[7] := readings[7] + readings[number];
        energy[7] := coalesce(energy[7] + energy[number], energy[7], energy[number]);
        falls[7] := falls[7] + falls[number];
        sums[7] := sums[7] + sums[number];
        last := hours[hour + 2];
    END LOOP;
    RETURN ARRAY[readings, energy, falls, sums];
END
$$;

CREATE AGGREGATE six_hours(double precision[]) (
    SFUNC = array_cat,
    STYPE = double precision[],
    FINALFUNC = joined_hours,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE six_hours(double precision[]) IS
    'Joins hours, ordered by time, each {number, first kWh, last kWh, readings, energy, falls, sum}: {readings, energy, falls, sums} by the hour';

-- A figure of all six hours has the name that it has of one; that of one of them has its number, 0 to 5, behind it.
DO $$
DECLARE
    stream record;
BEGIN
    FOR stream IN SELECT * FROM (VALUES ('meter', 'sum_voltage'), ('vehicle', 'sum_battery_temp')) AS given (name, sum) LOOP
        EXECUTE format(
            $CREATE$
                CREATE MATERIALIZED VIEW %1$s_six_hourly
                WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
                SELECT
                    %1$s_id,
                    time_bucket(INTERVAL '6 hours', bucket) AS bucket,
                    min(first_time)                         AS first_time,
                    first(first_kwh, bucket)                AS first_kwh,
                    last(last_kwh, bucket)                  AS last_kwh,
                    %2$s
                FROM %1$s_hourly
                GROUP BY %1$s_id, time_bucket(INTERVAL '6 hours', bucket)
                WITH NO DATA
            $CREATE$,
            stream.name,
            (
                SELECT string_agg(
                    format(
                        $FIGURE$
                            (six_hours(ARRAY[
                                extract(hour FROM bucket AT TIME ZONE 'UTC')::integer %% 6,
                                first_kwh, last_kwh, readings, energy_kwh, falls, %s
                            ] ORDER BY bucket))[%s][%s] AS %s
                        $FIGURE$,
                        stream.sum, place, number, figure || CASE WHEN number < 7 THEN '_' || number - 1 ELSE '' END
                    ), ', ' ORDER BY place, number
                )
                FROM unnest(ARRAY['readings', 'energy_kwh', 'falls', stream.sum]) WITH ORDINALITY AS of_hours (figure, place)
                CROSS JOIN generate_series(1, 7) AS number
            )
        );
    END LOOP;
END
$$;

-- As before.
SELECT add_continuous_aggregate_policy('meter_six_hourly',
    start_offset => INTERVAL '100 days', end_offset => INTERVAL '2 hours',
    schedule_interval => INTERVAL '10 minutes', buckets_per_batch => 0);
SELECT add_continuous_aggregate_policy('vehicle_six_hourly',
    start_offset => INTERVAL '100 days', end_offset => INTERVAL '2 hours',
    schedule_interval => INTERVAL '10 minutes', buckets_per_batch => 0);
SELECT add_retention_policy('meter_six_hourly', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('vehicle_six_hourly', drop_after => INTERVAL '400 days');
