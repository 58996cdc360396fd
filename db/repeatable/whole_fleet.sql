-- Up to when a window's hours come from an aggregate.
CREATE OR REPLACE FUNCTION fresh_until(aggregate text, since timestamptz, until timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN greatest(since, least(until, materialized_until(aggregate)));

-- Between which times a window's hours come from a six-hourly aggregate: from the first whole six after the window's first hour, or after the
-- aggregate's oldest chunk begins, up to the first six that await a refresh; `since` of six_until() is what six_from() returned.
CREATE OR REPLACE FUNCTION six_from(aggregate text, since timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN time_bucket(
    INTERVAL '6 hours', greatest(since, materialized_from(aggregate) - INTERVAL '1 microsecond') + INTERVAL '6 hours'
);

CREATE OR REPLACE FUNCTION six_until(aggregate text, since timestamptz, until timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN since < until THEN greatest(
        since, time_bucket(INTERVAL '6 hours', coalesce(lower(stale_hours(aggregate, tstzrange(since, until))), until))
    )
    ELSE since
END;

-- Until when the hours of a window hold all that has arrived: the first of them that was materialized before a late reading
-- came, or the window's end. A refresh mends it.
CREATE OR REPLACE FUNCTION fleet_exact_until(since timestamptz, until timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        min(lower(stale_hours(aggregate, tstzrange(since, until)) * tstzmultirange(tstzrange(since, fresh)))), until
    )
    FROM (
        SELECT aggregate, fresh_until(aggregate, since, until) AS fresh
        FROM unnest(ARRAY['meter_hourly', 'vehicle_hourly']) AS aggregate
    ) AS materialized
$$;

-- The summary of every vehicle that was ever heard of, as the route about one vehicle has it.
CREATE OR REPLACE FUNCTION fleet_performance(since timestamptz, until timestamptz, low_coverage double precision)
RETURNS TABLE (
    vehicle_id text, kwh_consumed_ac double precision, kwh_delivered_dc double precision, kwh_delivered_dc_metered double precision,
    efficiency double precision, avg_battery_temp double precision, meter_ids text[], vehicle_readings bigint, meter_readings bigint,
    vehicle_coverage double precision, meter_coverage double precision, counter_resets bigint, warnings text[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
-- Each stream's totals by a worker of its own, where there is one: docs/decisions/0022.
SET parallel_setup_cost = 0
SET parallel_tuple_cost = 0 AS $$
#variable_conflict use_column
DECLARE
    meters_fresh   CONSTANT timestamptz := fresh_until('meter_hourly', since, until);
    vehicles_fresh CONSTANT timestamptz := fresh_until('vehicle_hourly', since, until);
BEGIN
    RETURN QUERY
    WITH device AS MATERIALIZED (
        SELECT true AS is_vehicle, vehicle.* FROM vehicle_totals(since, until, vehicles_fresh) AS vehicle
        UNION ALL
        SELECT false, meter.* FROM meter_totals(since, until, meters_fresh) AS meter
    ), mapping AS MATERIALIZED (
        SELECT * FROM window_mappings(since, until)
    ), moved AS (
        SELECT
            vehicle_id, sum(ac_kwh) AS ac_kwh, sum(metered_kwh) AS metered_kwh, sum(meter_readings) AS readings,
            sum(meter_falls) AS falls
        FROM moved_hours(
            since, until,
            (SELECT array_agg(DISTINCT vehicle_id) FROM mapping WHERE NOT alone),
            (SELECT array_agg(DISTINCT meter_id) FROM mapping WHERE NOT alone)
        )
        GROUP BY vehicle_id
    ), mapped AS (
        SELECT
            vehicle_id, array_agg(meter_id ORDER BY valid) AS meter_ids, bool_and(alone) AS alone, bool_or(shared) AS shared,
            sum(extract(epoch FROM upper(span) - lower(span))) / 60 AS minutes
        FROM mapping
        GROUP BY vehicle_id
    ), known AS (
        SELECT vehicle_id FROM vehicles_latest
        UNION
        SELECT vehicle_id FROM vehicle_meter_mapping
    ), counted AS (
        SELECT
            known.vehicle_id, meter_ids, shared, vehicle.energy_kwh AS dc_kwh, vehicle.avg_battery_temp,
            CASE WHEN alone THEN meter.energy_kwh ELSE moved.ac_kwh END AS ac_kwh,
            CASE WHEN alone THEN vehicle.energy_kwh ELSE moved.metered_kwh END AS metered_kwh,
            coalesce(vehicle.readings, 0)::bigint AS vehicle_readings,
            coalesce(meter.readings, moved.readings, 0)::bigint AS meter_readings,
            (coalesce(vehicle.falls, 0) + coalesce(meter.falls, moved.falls, 0))::bigint AS counter_resets,
            minutes
        FROM known
        LEFT JOIN device AS vehicle ON vehicle.is_vehicle AND vehicle.device = known.vehicle_id
        LEFT JOIN mapped USING (vehicle_id)
        LEFT JOIN device AS meter ON alone AND NOT meter.is_vehicle AND meter.device = meter_ids[1]
        LEFT JOIN moved USING (vehicle_id)
    ), figured AS (
        SELECT
            counted.*, rounded(ac_kwh) AS ac, rounded(dc_kwh) AS dc, rounded(metered_kwh) AS metered,
            rounded(quotient(metered_kwh, ac_kwh)) AS efficiency,
            rounded(vehicle_readings / (extract(epoch FROM until - since)::double precision / 60)) AS vehicle_coverage,
            CASE WHEN minutes > 0 THEN rounded(meter_readings / minutes::double precision) END AS meter_coverage
        FROM counted
    )
    SELECT
        vehicle_id, ac, dc, metered, efficiency, rounded(avg_battery_temp), coalesce(meter_ids, '{}'), vehicle_readings, meter_readings,
        vehicle_coverage, meter_coverage, counter_resets,
        array_remove(ARRAY[
            CASE WHEN meter_ids IS NULL THEN 'no_mapping' END,
            CASE WHEN vehicle_readings = 0 OR (meter_ids IS NOT NULL AND meter_readings = 0) THEN 'no_readings' END,
            CASE WHEN shared THEN 'shared_meter' END,
            CASE WHEN counter_resets > 0 THEN 'counter_reset' END,
            CASE WHEN efficiency > 1 THEN 'efficiency_above_one' END,
            CASE WHEN least(vehicle_coverage, meter_coverage) < low_coverage THEN 'low_coverage' END,
            CASE WHEN coalesce(dc, 0) - coalesce(metered, 0) > 1e-9 THEN 'unmetered_energy' END
        ], NULL)
    FROM figured;
END
$$;
COMMENT ON FUNCTION fleet_performance(timestamptz, timestamptz, double precision) IS
    'Energy (kWh), efficiency, battery temperature (degrees Celsius), coverage and warnings of every vehicle over since < time <= until, whole UTC hours';

-- The whole fleet by the hour. Energy of all meters, of that what belongs to vehicles, of all vehicles, of that what was metered.
CREATE OR REPLACE FUNCTION fleet_hours(since timestamptz, until timestamptz)
RETURNS TABLE (
    hour timestamptz, ac_kwh double precision, mapped_kwh double precision, dc_kwh double precision, metered_kwh double precision,
    vehicle_readings bigint, meter_readings bigint, sum_battery_temp double precision, falls bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 24
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
-- Each stream's totals by a worker of its own, where there is one: docs/decisions/0022.
SET parallel_setup_cost = 0
SET parallel_tuple_cost = 0 AS $$
#variable_conflict use_column
DECLARE
    meters_fresh   CONSTANT timestamptz := fresh_until('meter_hourly', since, until);
    vehicles_fresh CONSTANT timestamptz := fresh_until('vehicle_hourly', since, until);
    vehicles_alone text[];
    meters_alone   text[];
    vehicles_moved text[];
    meters_moved   text[];
BEGIN
    SELECT
        array_agg(vehicle_id) FILTER (WHERE alone), array_agg(meter_id) FILTER (WHERE alone),
        array_agg(DISTINCT vehicle_id) FILTER (WHERE NOT alone), array_agg(DISTINCT meter_id) FILTER (WHERE NOT alone)
    INTO vehicles_alone, meters_alone, vehicles_moved, meters_moved
    FROM window_mappings(since, until);
    RETURN QUERY
    WITH total AS MATERIALIZED (
        SELECT true AS is_vehicle, vehicle.* FROM vehicle_totals_by_hour(since, until, vehicles_fresh, vehicles_alone) AS vehicle
        UNION ALL
        SELECT false, meter.* FROM meter_totals_by_hour(since, until, meters_fresh, meters_alone) AS meter
    ), moved AS (
        SELECT hour, sum(ac_kwh) AS ac_kwh, sum(metered_kwh) AS metered_kwh
        FROM moved_hours(since, until, vehicles_moved, meters_moved)
        GROUP BY hour
    )
    SELECT
        hour.hour, meter.energy_kwh,
        CASE WHEN num_nulls(meter.alone_kwh, moved.ac_kwh) < 2 THEN coalesce(meter.alone_kwh, 0) + coalesce(moved.ac_kwh, 0) END,
        vehicle.energy_kwh,
        CASE
            WHEN num_nulls(vehicle.alone_kwh, moved.metered_kwh) < 2 THEN
                coalesce(vehicle.alone_kwh, 0) + coalesce(moved.metered_kwh, 0)
        END,
        coalesce(vehicle.readings, 0), coalesce(meter.readings, 0), vehicle.sum_battery_temp,
        coalesce(vehicle.falls, 0) + coalesce(meter.falls, 0)
    FROM generate_series(since, until - INTERVAL '1 hour', INTERVAL '1 hour') AS hour (hour)
    LEFT JOIN total AS meter ON NOT meter.is_vehicle AND meter.hour = hour.hour
    LEFT JOIN total AS vehicle ON vehicle.is_vehicle AND vehicle.hour = hour.hour
    LEFT JOIN moved ON moved.hour = hour.hour
    ORDER BY hour.hour;
END
$$;
COMMENT ON FUNCTION fleet_hours(timestamptz, timestamptz) IS
    'Energy (kWh), readings, battery temperature and counter falls of the whole fleet by the hour over since < time <= until, whole UTC hours';
