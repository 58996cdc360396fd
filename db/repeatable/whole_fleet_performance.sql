-- The summary of every vehicle that was ever heard of or is registered, as the route about one vehicle has it
-- with edges=interpolated.
CREATE OR REPLACE FUNCTION fleet_performance(
    since timestamptz, until timestamptz, low_coverage double precision, otherwise_kw double precision
)
RETURNS TABLE (
    vehicle_id text, kwh_consumed_ac double precision, kwh_delivered_dc double precision,
    kwh_delivered_dc_metered double precision,
    efficiency double precision, avg_battery_temp double precision, meter_ids text[], vehicle_readings bigint,
    meter_readings bigint, vehicle_coverage double precision, meter_coverage double precision,
    counter_resets bigint,
    ignored_readings bigint, warnings text[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
-- Each stream's totals by a worker of its own, where there is one: decision 22.
SET parallel_setup_cost = 0
SET parallel_tuple_cost = 0 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH device AS MATERIALIZED (
        SELECT true AS is_vehicle, vehicle.*
        FROM vehicle_totals(since, until, fresh_until('vehicle_hourly', until), otherwise_kw) AS vehicle
        UNION ALL
        SELECT false,
        meter.* FROM meter_totals(since, until, fresh_until('meter_hourly', until), otherwise_kw) AS meter
    ), mapping AS MATERIALIZED (
        SELECT * FROM window_mappings(since, until)
    ), moved AS MATERIALIZED (
        SELECT * FROM moved_totals(
            since, until, otherwise_kw,
            (SELECT array_agg(DISTINCT vehicle_id) FROM mapping WHERE NOT alone),
            (SELECT array_agg(DISTINCT meter_id) FROM mapping WHERE NOT alone)
        )
    ), mapped AS (
        SELECT
            mapping.vehicle_id, array_agg(meter_id ORDER BY valid) AS meter_ids, bool_and(alone) AS alone,
            bool_or(shared) AS shared,
            sum(date_part('epoch', upper(span) - lower(span)) / coalesce(entry.interval_seconds, 60))
                AS expected
        FROM mapping
        LEFT JOIN devices AS entry ON entry.stream = 'meter' AND entry.id = mapping.meter_id
        GROUP BY mapping.vehicle_id
    ), counted AS (
        SELECT
            known.vehicle_id, meter_ids, shared, expected,
            coalesce(entry.interval_seconds, 60) AS interval_seconds,
            vehicle.energy_kwh AS dc_kwh, vehicle.avg_battery_temp,
            coalesce(vehicle.readings, 0) AS vehicle_readings,
            CASE WHEN alone THEN meter.energy_kwh ELSE moved.ac_kwh END AS ac_kwh,
            CASE WHEN alone THEN vehicle.energy_kwh ELSE moved.dc_kwh END AS metered_kwh,
            coalesce(meter.readings, moved.readings, 0) AS meter_readings,
            coalesce(vehicle.falls, 0) + coalesce(meter.falls, moved.falls, 0) AS falls,
            coalesce(vehicle.jumps, 0) + coalesce(meter.jumps, moved.jumps, 0) AS jumps,
            coalesce(vehicle.ignored, 0) + coalesce(meter.ignored, moved.ignored, 0) AS ignored,
            coalesce(vehicle.estimated, false) OR coalesce(meter.estimated, moved.estimated, false)
                AS estimated,
            coalesce(moved.uncertain, false) AS uncertain,
            coalesce(vehicle.dropped, false) OR coalesce(meter.dropped, moved.dropped, false) AS dropped
        FROM known_vehicles() AS known
        LEFT JOIN devices AS entry ON entry.stream = 'vehicle' AND entry.id = known.vehicle_id
        LEFT JOIN device AS vehicle ON vehicle.is_vehicle AND vehicle.device = known.vehicle_id
        LEFT JOIN mapped ON mapped.vehicle_id = known.vehicle_id
        LEFT JOIN device AS meter ON alone AND NOT meter.is_vehicle AND meter.device = meter_ids[1]
        LEFT JOIN moved ON NOT alone AND moved.vehicle_id = known.vehicle_id
    ), figured AS (
        SELECT
            counted.*, rounded(quotient(metered_kwh, ac_kwh)) AS efficiency,
            rounded(counted.vehicle_readings * interval_seconds / date_part('epoch', until - since))
                AS vehicle_coverage,
            rounded(quotient(counted.meter_readings, expected)) AS meter_coverage
        FROM counted
    )
    SELECT
        figured.vehicle_id, rounded(ac_kwh), rounded(dc_kwh), rounded(metered_kwh), figured.efficiency,
        rounded(figured.avg_battery_temp), coalesce(figured.meter_ids, '{}'), figured.vehicle_readings,
        figured.meter_readings,
        figured.vehicle_coverage, figured.meter_coverage, falls + jumps, ignored,
        array_remove(ARRAY[
            CASE WHEN figured.meter_ids IS NULL THEN 'no_mapping' END,
            CASE
                WHEN figured.vehicle_readings = 0 OR (figured.meter_ids IS NOT NULL
                    AND figured.meter_readings = 0) THEN 'no_readings'
            END,
            CASE WHEN shared THEN 'shared_meter' END,
            CASE WHEN uncertain THEN 'shared_meter_uncertain' END,
            CASE WHEN falls > 0 THEN 'counter_reset' END,
            CASE WHEN jumps > 0 THEN 'implausible_step' END,
            CASE WHEN ignored > 0 THEN 'readings_ignored' END,
            CASE WHEN estimated THEN 'estimated_edge' END,
            CASE WHEN figured.efficiency > 1 THEN 'efficiency_above_one' END,
            CASE WHEN least(figured.vehicle_coverage, figured.meter_coverage) < low_coverage THEN
                'low_coverage' END,
            CASE WHEN coalesce(rounded(dc_kwh), 0) - coalesce(rounded(metered_kwh), 0) > 1e-9 THEN
                'unmetered_energy' END,
            CASE WHEN dropped THEN 'history_dropped' END
        ], NULL)
    FROM figured;
END
$$;
COMMENT ON FUNCTION fleet_performance(timestamptz, timestamptz, double precision, double precision) IS
    'Energy (kWh), efficiency, battery temperature (degrees Celsius), coverage and warnings of every '
    'vehicle over since <= time < until';

-- The vehicles that were ever heard of, that ever were on a meter, or that are registered.
CREATE OR REPLACE FUNCTION known_vehicles() RETURNS TABLE (vehicle_id text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT vehicle_id FROM vehicles_latest
    UNION
    SELECT vehicle_id FROM vehicle_meter_mapping
    UNION
    SELECT id FROM devices WHERE stream = 'vehicle'
$$;

-- What the mappings of vehicles that moved or shared a meter come to in a window; `meters` and `vehicles` as
-- in moved_buckets().
CREATE OR REPLACE FUNCTION moved_totals(
    since timestamptz, until timestamptz, otherwise_kw double precision, vehicles text[], meters text[]
)
RETURNS TABLE (
    vehicle_id text, ac_kwh double precision, dc_kwh double precision, readings bigint, falls bigint,
    jumps bigint, ignored bigint,
    estimated boolean, uncertain boolean, dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000 AS $$
#variable_conflict use_column
DECLARE
    asked CONSTANT tstzrange := tstzrange(since, until);
BEGIN
    RETURN QUERY
    WITH drawn AS (
        SELECT vehicle_id, sum(ac_kwh) AS ac_kwh, sum(dc_kwh) AS dc_kwh, bool_or(uncertain) AS uncertain
        FROM moved_buckets(ARRAY[lower(asked), upper(asked)], otherwise_kw, vehicles, meters)
        GROUP BY vehicle_id
    ), told AS (
        SELECT
            mapping.vehicle_id, sum(meter.readings)::bigint AS readings, sum(meter.falls)::bigint AS falls,
            sum(meter.jumps)::bigint AS jumps, sum(meter.ignored)::bigint AS ignored,
            bool_or(meter.dropped) AS dropped,
            bool_or(meter.estimated) OR bool_or(vehicle.estimated) AS estimated
        FROM vehicle_meter_mapping AS mapping
        CROSS JOIN LATERAL (SELECT mapping.valid * asked) AS part (span)
        CROSS JOIN LATERAL meter_spans(
            mapping.meter_id, lower(span), upper(span), false, ARRAY[span],
            device_max_kw('meter', mapping.meter_id, otherwise_kw)
        ) AS meter
        CROSS JOIN LATERAL vehicle_spans(
            mapping.vehicle_id, lower(span), upper(span), false, ARRAY[span],
            device_max_kw('vehicle', mapping.vehicle_id, otherwise_kw)
        ) AS vehicle
        WHERE mapping.vehicle_id = ANY (vehicles) AND mapping.meter_id = ANY (meters)
          AND mapping.valid && asked
        GROUP BY mapping.vehicle_id
    )
    SELECT
        told.vehicle_id, drawn.ac_kwh, drawn.dc_kwh, told.readings, told.falls, told.jumps, told.ignored,
        told.estimated,
        coalesce(drawn.uncertain, false), told.dropped
    FROM told
    LEFT JOIN drawn USING (vehicle_id);
END
$$;
