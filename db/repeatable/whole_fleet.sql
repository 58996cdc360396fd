-- Up to when a window's hours come from an aggregate.
CREATE OR REPLACE FUNCTION fresh_until(aggregate text, until timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN least(until + INTERVAL '1 hour', materialized_until(aggregate));

-- Until when the hours of a window hold all that has arrived: the first of them that was materialized before
-- a late reading came, or the window's end. A refresh mends it.
CREATE OR REPLACE FUNCTION fleet_exact_until(since timestamptz, until timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        min(lower(stale_hours(aggregate, tstzrange(since, until)) * tstzmultirange(tstzrange(since, fresh)))),
        until
    )
    FROM (
        SELECT aggregate, greatest(since, least(until, materialized_until(aggregate))) AS fresh
        FROM unnest(ARRAY['meter_hourly', 'vehicle_hourly']) AS aggregate
    ) AS materialized
$$;

-- The mappings that touch a window, and the part of it that each holds. One is `alone` where it spans the
-- whole window and no other vehicle was on the meter in it: then the meter's curve is the vehicle's. `shared`
-- says that another vehicle was on the meter at the same time.
CREATE OR REPLACE FUNCTION window_mappings(since timestamptz, until timestamptz)
RETURNS TABLE (vehicle_id text, meter_id text, valid tstzrange, span tstzrange, alone boolean, shared boolean)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT
        vehicle_id, meter_id, valid, span, span = tstzrange(since, until) AND on_meter = 1,
        on_meter > 1 AND EXISTS (
            SELECT FROM vehicle_meter_mapping AS other
            WHERE other.meter_id = mapped.meter_id AND other.vehicle_id <> mapped.vehicle_id
              AND other.valid && mapped.span
        )
    FROM (
        SELECT mapping.*, valid * tstzrange(since, until) AS span,
        count(*) OVER (PARTITION BY meter_id) AS on_meter
        FROM vehicle_meter_mapping AS mapping
        WHERE valid && tstzrange(since, until)
    ) AS mapped
$$;

-- What vehicles drew from meters, and delivered meanwhile, by the buckets between neighbouring boundaries, of
-- the mappings in a window that are not `alone`. `meters` are those mappings' meters, `vehicles` whom to
-- count; NULL: none.
CREATE OR REPLACE FUNCTION moved_buckets(
    boundaries timestamptz[], otherwise_kw double precision, vehicles text[], meters text[]
)
RETURNS TABLE (
    vehicle_id text, number integer, ac_kwh double precision, dc_kwh double precision, uncertain boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000 AS $$
#variable_conflict use_column
DECLARE
    since CONSTANT timestamptz := boundaries[1];
    until CONSTANT timestamptz := boundaries[cardinality(boundaries)];
BEGIN
    RETURN QUERY
    SELECT share.vehicle_id, width_bucket(share.start, boundaries), share.kwh, NULL::double precision,
    share.uncertain
    FROM unnest(meters) AS moved (meter_id)
    CROSS JOIN LATERAL meter_shares(moved.meter_id, boundaries, otherwise_kw) AS share
    WHERE share.vehicle_id = ANY (vehicles)
    UNION ALL
    SELECT moved.vehicle_id, width_bucket(cuts[bucket.number], boundaries), NULL, bucket.energy_kwh, false
    FROM (
        SELECT mapping.vehicle_id, mapping.meter_id, mapping.valid * tstzrange(since, until) AS span
        FROM vehicle_meter_mapping AS mapping
        WHERE mapping.vehicle_id = ANY (vehicles) AND mapping.meter_id = ANY (meters)
          AND mapping.valid && tstzrange(since, until)
    ) AS moved
    CROSS JOIN LATERAL (
        SELECT lower(span) || array_remove(array_agg(bound ORDER BY bound), NULL) || upper(span)
        FROM unnest(boundaries) AS bound
        WHERE bound > lower(span) AND bound < upper(span)
    ) AS part (cuts)
    CROSS JOIN LATERAL vehicle_buckets(
        moved.vehicle_id, cuts, device_max_kw('vehicle', moved.vehicle_id, otherwise_kw)
    ) AS bucket;
END
$$;

-- The whole fleet, or a site's devices, by the buckets between neighbouring boundaries: energy of all meters,
-- of that what belongs to vehicles, of all vehicles, of that what was metered.
CREATE OR REPLACE FUNCTION fleet_buckets(
    boundaries timestamptz[], of_site text, otherwise_kw double precision
)
RETURNS TABLE (
    number integer, ac_kwh double precision, mapped_kwh double precision, dc_kwh double precision,
    metered_kwh double precision,
    vehicle_readings bigint, meter_readings bigint, sum_battery_temp double precision,
    count_battery_temp bigint,
    falls bigint, jumps bigint, ignored bigint, estimated boolean, uncertain boolean, dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 24
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
-- Each stream's totals by a worker of its own, where there is one: decision 22.
SET parallel_setup_cost = 0
SET parallel_tuple_cost = 0 AS $$
#variable_conflict use_column
DECLARE
    since          CONSTANT timestamptz := boundaries[1];
    until          CONSTANT timestamptz := boundaries[cardinality(boundaries)];
    meters_fresh   CONSTANT timestamptz := fresh_until('meter_hourly', until);
    vehicles_fresh CONSTANT timestamptz := fresh_until('vehicle_hourly', until);
    meters         CONSTANT text[] := site_devices('meter', of_site);
    vehicles       CONSTANT text[] := site_devices('vehicle', of_site);
    vehicles_alone text[];
    meters_alone   text[];
    vehicles_moved text[];
    meters_moved   text[];
BEGIN
    SELECT
        array_agg(vehicle_id) FILTER (WHERE alone), array_agg(meter_id) FILTER (WHERE alone),
        array_agg(DISTINCT vehicle_id) FILTER (WHERE NOT alone),
        array_agg(DISTINCT meter_id) FILTER (WHERE NOT alone)
    INTO vehicles_alone, meters_alone, vehicles_moved, meters_moved
    FROM window_mappings(since, until)
    WHERE (vehicles IS NULL OR vehicle_id = ANY (vehicles))
      -- What a vehicle of a site draws from a meter outside of it is not among the site's meters.
      AND (vehicles IS NULL OR NOT alone OR meter_id = ANY (meters));
    RETURN QUERY
    WITH total AS MATERIALIZED (
        SELECT true AS is_vehicle, vehicle.*
        FROM vehicle_fleet(boundaries, vehicles_fresh, vehicles_alone, vehicles, otherwise_kw) AS vehicle
        UNION ALL
        SELECT false,
        meter.* FROM meter_fleet(boundaries, meters_fresh, meters_alone, meters, otherwise_kw) AS meter
    ), moved AS (
        SELECT number, sum(ac_kwh) AS ac_kwh, sum(dc_kwh) AS dc_kwh, bool_or(uncertain) AS uncertain
        FROM moved_buckets(boundaries, otherwise_kw, vehicles_moved, meters_moved)
        GROUP BY number
    )
    SELECT
        bucket.number, meter.energy_kwh,
        CASE WHEN num_nulls(meter.alone_kwh, moved.ac_kwh) < 2 THEN
            coalesce(meter.alone_kwh, 0) + coalesce(moved.ac_kwh, 0) END,
        vehicle.energy_kwh,
        CASE
            WHEN num_nulls(vehicle.alone_kwh, moved.dc_kwh) < 2 THEN
                coalesce(vehicle.alone_kwh, 0) + coalesce(moved.dc_kwh, 0)
        END,
        coalesce(vehicle.readings, 0), coalesce(meter.readings, 0), vehicle.sum_battery_temp,
        vehicle.count_battery_temp,
        coalesce(vehicle.falls, 0) + coalesce(meter.falls, 0),
        coalesce(vehicle.jumps, 0) + coalesce(meter.jumps, 0),
        coalesce(vehicle.ignored, 0) + coalesce(meter.ignored, 0),
        coalesce(vehicle.estimated OR meter.estimated, false),
        coalesce(moved.uncertain, false), coalesce(vehicle.dropped OR meter.dropped, false)
    FROM generate_series(1, cardinality(boundaries) - 1) AS bucket (number)
    LEFT JOIN total AS meter ON NOT meter.is_vehicle AND meter.number = bucket.number
    LEFT JOIN total AS vehicle ON vehicle.is_vehicle AND vehicle.number = bucket.number
    LEFT JOIN moved ON moved.number = bucket.number
    ORDER BY bucket.number;
END
$$;

-- The devices of a stream that belong to a site; NULL: no site is asked for.
CREATE OR REPLACE FUNCTION site_devices(of_stream text, of_site text) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN of_site IS NOT NULL THEN ARRAY(SELECT id FROM devices WHERE stream = of_stream
    AND site = of_site) END;
