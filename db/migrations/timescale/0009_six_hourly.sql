-- Six hours of the hourly aggregates in one row, for answers about the whole fleet: docs/decisions/0025. Nothing else reads it, and
-- where it lacks something those answers take the hours themselves: its policies may be whatever a DBA likes.

-- Six hours in one: {readings, energy in kWh, falls, sum of the mean's values}, each {hour 0, …, hour 5, all of them}. Given are the
-- hours that have readings, in order, each as {its number, first kWh, last kWh, and the four}. An hour's energy and falls have the step
-- from the hour before within the six, too; its energy is NULL where no step ends in it.
CREATE FUNCTION six_hours(hours double precision[]) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    hour     double precision[];
    number   integer;
    last     double precision;
    readings double precision[] := '{0, 0, 0, 0, 0, 0, 0}';
    energy   double precision[] := '{NULL, NULL, NULL, NULL, NULL, NULL, NULL}';
    falls    double precision[] := '{0, 0, 0, 0, 0, 0, 0}';
    sums     double precision[] := '{NULL, NULL, NULL, NULL, NULL, NULL, 0}';
BEGIN
    FOREACH hour SLICE 1 IN ARRAY hours LOOP
        number := hour[1] + 1;
        readings[number] := hour[4];
        energy[number] := CASE WHEN hour[4] > 1 OR last IS NOT NULL THEN hour[5] + greatest(hour[2] - last, 0) END;
        falls[number] := hour[6] + coalesce(hour[2] < last, false)::integer;
        sums[number] := hour[7];
        readings[7] := readings[7] + readings[number];
        energy[7] := coalesce(energy[7] + energy[number], energy[7], energy[number]);
        falls[7] := falls[7] + falls[number];
        sums[7] := sums[7] + sums[number];
        last := hour[3];
    END LOOP;
    RETURN ARRAY[readings, energy, falls, sums];
END
$$;

CREATE MATERIALIZED VIEW meter_six_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
SELECT
    meter_id,
    time_bucket(INTERVAL '6 hours', bucket) AS bucket,
    min(first_time)                         AS first_time,
    first(first_kwh, bucket)                AS first_kwh,
    last(last_kwh, bucket)                  AS last_kwh,
    six_hours(array_agg(
        ARRAY[
            extract(hour FROM bucket AT TIME ZONE 'UTC')::integer % 6, first_kwh, last_kwh, readings, energy_kwh, falls, sum_voltage
        ] ORDER BY bucket
    ))                                      AS hours
FROM meter_hourly
GROUP BY meter_id, time_bucket(INTERVAL '6 hours', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW vehicle_six_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
SELECT
    vehicle_id,
    time_bucket(INTERVAL '6 hours', bucket) AS bucket,
    min(first_time)                         AS first_time,
    first(first_kwh, bucket)                AS first_kwh,
    last(last_kwh, bucket)                  AS last_kwh,
    six_hours(array_agg(
        ARRAY[
            extract(hour FROM bucket AT TIME ZONE 'UTC')::integer % 6, first_kwh, last_kwh, readings, energy_kwh, falls, sum_battery_temp
        ] ORDER BY bucket
    ))                                      AS hours
FROM vehicle_hourly
GROUP BY vehicle_id, time_bucket(INTERVAL '6 hours', bucket)
WITH NO DATA;

-- Once the hours of six are materialized: an hour after the hourly refresh has got there. Further back than windows are long, so that
-- late readings are joined as well; kept for windows that lie in the past.
SELECT add_continuous_aggregate_policy('meter_six_hourly',
    start_offset => INTERVAL '100 days', end_offset => INTERVAL '2 hours',
    schedule_interval => INTERVAL '30 minutes', buckets_per_batch => 0);
SELECT add_continuous_aggregate_policy('vehicle_six_hourly',
    start_offset => INTERVAL '100 days', end_offset => INTERVAL '2 hours',
    schedule_interval => INTERVAL '30 minutes', buckets_per_batch => 0);
SELECT add_retention_policy('meter_six_hourly', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('vehicle_six_hourly', drop_after => INTERVAL '400 days');
