-- The hours of every device over a window `since < time <= until` whose ends are whole UTC hours (the arithmetic: docs/energy.md).
-- An hour here holds start <= time < start + 1 hour, as the aggregates have it; `since` itself is left out of the first, and the
-- last has `until` as well, so that hours add up to their window. A step belongs to the hour of its later reading. A device may have
-- two rows for an hour. Materialized hours come from the aggregate, also those that a late reading has made stale since:
-- fleet_exact_until() says from when on. Whatever is not materialized is read device by device through the (id, time) index, as
-- no index is by time alone; so are the readings at the very ends.
-- These have no settings of their own, so that they become part of what asks (fleet_performance() and the like), which plans them for the
-- very window and for `fresh`, up to when hours come from the aggregate: chunks are excluded while planning.

DROP FUNCTION IF EXISTS meter_hours(timestamptz, timestamptz);
CREATE OR REPLACE FUNCTION meter_hours(since timestamptz, until timestamptz, fresh timestamptz)
RETURNS TABLE (meter_id text, hour timestamptz, readings bigint, energy_kwh double precision, falls bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 240000 AS $$
    WITH piece AS (
        SELECT h.meter_id, h.bucket AS hour, h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls::bigint
        FROM meter_materialized AS h
        WHERE h.bucket > since AND h.bucket < fresh AND since < fresh
        UNION ALL
        -- The first hour, less a reading at `since` and the step that it begins.
        SELECT
            h.meter_id, h.bucket, coalesce(next.time, h.first_time), coalesce(next.kwh, h.first_kwh), h.last_kwh,
            h.readings - (h.first_time = since)::int,
            greatest(h.energy_kwh - greatest(next.kwh - h.first_kwh, 0), 0),
            h.falls::bigint - coalesce(next.kwh < h.first_kwh, false)::int
        FROM meter_materialized AS h
        LEFT JOIN LATERAL (
            SELECT r.time, r.kwh_consumed_ac AS kwh FROM meter_telemetry AS r
            WHERE h.first_time = since AND r.meter_id = h.meter_id AND r.time > since AND r.time < since + INTERVAL '1 hour'
            ORDER BY r.time
            LIMIT 1
        ) AS next ON true
        WHERE h.bucket = since AND since < fresh AND (h.first_time > since OR h.readings > 1)
        UNION ALL
        SELECT device.meter_id, raw.*
        FROM meters_latest AS device
        CROSS JOIN LATERAL (
            SELECT
                step.hour, min(time), first(kwh, time), last(kwh, time), count(*),
                coalesce(sum(rise) FILTER (WHERE rise > 0), 0), count(*) FILTER (WHERE rise < 0)
            FROM (
                SELECT reading.*, kwh - lag(kwh) OVER (PARTITION BY reading.hour ORDER BY time) AS rise
                FROM (
                    SELECT r.time, r.kwh_consumed_ac AS kwh, time_bucket(INTERVAL '1 hour', r.time) AS hour
                    FROM meter_telemetry AS r
                    WHERE r.meter_id = device.meter_id AND r.time >= fresh AND r.time > since AND r.time < until
                ) AS reading
            ) AS step
            GROUP BY step.hour
        ) AS raw
        WHERE fresh < until
        UNION ALL
        SELECT device.meter_id, until - INTERVAL '1 hour', r.time, r.kwh_consumed_ac, r.kwh_consumed_ac, 1, 0, 0
        FROM meters_latest AS device
        JOIN meter_telemetry AS r ON r.meter_id = device.meter_id AND r.time = until
    ), joined AS (
        SELECT
            piece.*,
            first_kwh - lag(last_kwh) OVER (PARTITION BY piece.meter_id COLLATE "C" ORDER BY first_time) AS seam_kwh
        FROM piece
    )
    SELECT
        joined.meter_id, joined.hour, joined.readings,
        CASE WHEN joined.readings > 1 OR seam_kwh IS NOT NULL THEN joined.energy_kwh + greatest(seam_kwh, 0) END,
        joined.falls + coalesce(seam_kwh < 0, false)::int
    FROM joined
$$;
COMMENT ON FUNCTION meter_hours(timestamptz, timestamptz, timestamptz) IS
    'AC energy in kWh of every meter by the hour (NULL where no step ends), its readings, and the falls of its counter';

DROP FUNCTION IF EXISTS vehicle_hours(timestamptz, timestamptz);
CREATE OR REPLACE FUNCTION vehicle_hours(since timestamptz, until timestamptz, fresh timestamptz)
RETURNS TABLE (
    vehicle_id text, hour timestamptz, readings bigint, energy_kwh double precision, falls bigint, sum_battery_temp double precision
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 240000 AS $$
    WITH piece AS (
        SELECT
            h.vehicle_id, h.bucket AS hour, h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls::bigint,
            h.sum_battery_temp
        FROM vehicle_materialized AS h
        WHERE h.bucket > since AND h.bucket < fresh AND since < fresh
        UNION ALL
        SELECT
            h.vehicle_id, h.bucket, coalesce(next.time, h.first_time), coalesce(next.kwh, h.first_kwh), h.last_kwh,
            h.readings - (h.first_time = since)::int,
            greatest(h.energy_kwh - greatest(next.kwh - h.first_kwh, 0), 0),
            h.falls::bigint - coalesce(next.kwh < h.first_kwh, false)::int,
            h.sum_battery_temp - coalesce(next.battery_temp_before, 0)
        FROM vehicle_materialized AS h
        LEFT JOIN LATERAL (
            SELECT
                max(two.time) AS time, last(two.kwh_delivered_dc, two.time) AS kwh,
                first(two.battery_temp, two.time) AS battery_temp_before
            FROM (
                SELECT r.* FROM vehicle_telemetry AS r
                WHERE h.first_time = since AND r.vehicle_id = h.vehicle_id AND r.time >= since AND r.time < since + INTERVAL '1 hour'
                ORDER BY r.time
                LIMIT 2
            ) AS two
        ) AS next ON true
        WHERE h.bucket = since AND since < fresh AND (h.first_time > since OR h.readings > 1)
        UNION ALL
        SELECT device.vehicle_id, raw.*
        FROM vehicles_latest AS device
        CROSS JOIN LATERAL (
            SELECT
                step.hour, min(time), first(kwh, time), last(kwh, time), count(*),
                coalesce(sum(rise) FILTER (WHERE rise > 0), 0), count(*) FILTER (WHERE rise < 0), sum(battery_temp)
            FROM (
                SELECT reading.*, kwh - lag(kwh) OVER (PARTITION BY reading.hour ORDER BY time) AS rise
                FROM (
                    SELECT r.time, r.kwh_delivered_dc AS kwh, r.battery_temp, time_bucket(INTERVAL '1 hour', r.time) AS hour
                    FROM vehicle_telemetry AS r
                    WHERE r.vehicle_id = device.vehicle_id AND r.time >= fresh AND r.time > since AND r.time < until
                ) AS reading
            ) AS step
            GROUP BY step.hour
        ) AS raw
        WHERE fresh < until
        UNION ALL
        SELECT device.vehicle_id, until - INTERVAL '1 hour', r.time, r.kwh_delivered_dc, r.kwh_delivered_dc, 1, 0, 0, r.battery_temp
        FROM vehicles_latest AS device
        JOIN vehicle_telemetry AS r ON r.vehicle_id = device.vehicle_id AND r.time = until
    ), joined AS (
        SELECT
            piece.*,
            first_kwh - lag(last_kwh) OVER (PARTITION BY piece.vehicle_id COLLATE "C" ORDER BY first_time) AS seam_kwh
        FROM piece
    )
    SELECT
        joined.vehicle_id, joined.hour, joined.readings,
        CASE WHEN joined.readings > 1 OR seam_kwh IS NOT NULL THEN joined.energy_kwh + greatest(seam_kwh, 0) END,
        joined.falls + coalesce(seam_kwh < 0, false)::int,
        joined.sum_battery_temp
    FROM joined
$$;
COMMENT ON FUNCTION vehicle_hours(timestamptz, timestamptz, timestamptz) IS
    'DC energy in kWh of every vehicle by the hour (NULL where no step ends), its readings, the falls of its counter, the sum of its battery temperatures';

-- The mappings that touch a window. One is `alone` where it spans the whole window and nobody else was on the meter in it: then
-- the meter's figures are the vehicle's. `shared` says that another vehicle was on the meter at the same time.
CREATE OR REPLACE FUNCTION window_mappings(since timestamptz, until timestamptz)
RETURNS TABLE (vehicle_id text, meter_id text, valid tstzrange, span tstzrange, alone boolean, shared boolean)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT
        vehicle_id, meter_id, valid, span, span = span_of_window AND on_meter = 1,
        on_meter > 1 AND EXISTS (
            SELECT FROM vehicle_meter_mapping AS other
            WHERE other.meter_id = mapped.meter_id AND other.vehicle_id <> mapped.vehicle_id AND other.valid && mapped.span
        )
    FROM (
        SELECT mapping.*, valid * span_of_window AS span, span_of_window, count(*) OVER (PARTITION BY meter_id) AS on_meter
        FROM vehicle_meter_mapping AS mapping
        CROSS JOIN (SELECT tstzrange(since, until, '(]')) AS asked (span_of_window)
        WHERE valid && span_of_window
    ) AS mapped
$$;

-- What the mappings that are not `alone` come to, by vehicle and hour, from raw: each vehicle's share of its meters' energy, the
-- falls and readings that belong to it, and its DC energy inside of its mappings. Consecutive steps of a meter that belong
-- to the same vehicles are a run; its energy is split by the DC energy of each inside the run's span, evenly where there is none.
CREATE OR REPLACE FUNCTION moved_hours(since timestamptz, until timestamptz)
RETURNS TABLE (
    vehicle_id text, hour timestamptz, ac_kwh double precision, meter_readings bigint, meter_falls bigint, metered_kwh double precision
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    last_hour CONSTANT timestamptz := until - INTERVAL '1 hour';
    meters    text[];
    vehicles  text[];
BEGIN
    SELECT array_agg(DISTINCT meter_id), array_agg(DISTINCT vehicle_id) INTO meters, vehicles
    FROM window_mappings(since, until) WHERE NOT alone;
    IF meters IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH moved AS MATERIALIZED (
        SELECT mapping.* FROM vehicle_meter_mapping AS mapping
        WHERE meter_id = ANY (meters) AND valid && tstzrange(since, until, '(]')
    ), meter_step AS (
        SELECT
            r.meter_id, r.time, least(time_bucket(INTERVAL '1 hour', r.time), last_hour) AS hour,
            lag(r.time) OVER device AS earlier, r.kwh_consumed_ac - lag(r.kwh_consumed_ac) OVER device AS rise
        FROM meter_telemetry AS r
        WHERE r.meter_id = ANY (meters) AND r.time > since AND r.time <= until
        WINDOW device AS (PARTITION BY r.meter_id ORDER BY r.time)
    ), vehicle_step AS (
        SELECT
            r.vehicle_id, r.time, least(time_bucket(INTERVAL '1 hour', r.time), last_hour) AS hour,
            lag(r.time) OVER device AS earlier, r.kwh_delivered_dc - lag(r.kwh_delivered_dc) OVER device AS rise
        FROM vehicle_telemetry AS r
        WHERE r.vehicle_id = ANY (vehicles) AND r.time > since AND r.time <= until
        WINDOW device AS (PARTITION BY r.vehicle_id ORDER BY r.time)
    ), owned AS (
        SELECT step.*, array_agg(moved.vehicle_id ORDER BY moved.vehicle_id) FILTER (WHERE moved.vehicle_id IS NOT NULL) AS owners
        FROM meter_step AS step
        LEFT JOIN moved ON moved.meter_id = step.meter_id AND valid @> earlier AND valid @> time
        WHERE earlier IS NOT NULL
        GROUP BY step.meter_id, time, step.hour, earlier, rise
    ), numbered AS (
        SELECT changing.*, count(*) FILTER (WHERE changes) OVER (PARTITION BY meter_id ORDER BY time) AS run
        FROM (
            SELECT owned.*, owners IS DISTINCT FROM lag(owners) OVER (PARTITION BY meter_id ORDER BY time) AS changes FROM owned
        ) AS changing
    ), delivered AS (
        SELECT meter_id, run, owner, coalesce(sum(rise) FILTER (WHERE rise > 0), 0) AS kwh
        FROM (
            SELECT meter_id, run, owners, min(earlier) AS run_start, max(time) AS run_end
            FROM numbered
            WHERE owners IS NOT NULL
            GROUP BY meter_id, run, owners
        ) AS runs
        CROSS JOIN unnest(owners) AS owner
        LEFT JOIN vehicle_step AS step
            ON cardinality(owners) > 1 AND step.vehicle_id = owner AND earlier >= run_start AND time <= run_end
        GROUP BY meter_id, run, owner
    ), part AS (
        SELECT
            meter_id, run, owner,
            CASE WHEN sum(kwh) OVER all_owners > 0 THEN kwh / sum(kwh) OVER all_owners ELSE 1.0 / count(*) OVER all_owners END AS part
        FROM delivered
        WINDOW all_owners AS (PARTITION BY meter_id, run)
    )
    SELECT owner, numbered.hour, sum(greatest(rise, 0) * part), 0::bigint, count(*) FILTER (WHERE rise < 0), NULL::double precision
    FROM numbered
    JOIN part USING (meter_id, run)
    GROUP BY owner, numbered.hour
    UNION ALL
    SELECT moved.vehicle_id, step.hour, NULL, count(*), 0, NULL
    FROM meter_step AS step
    JOIN moved ON moved.meter_id = step.meter_id AND valid @> time
    GROUP BY moved.vehicle_id, step.hour
    UNION ALL
    SELECT step.vehicle_id, step.hour, NULL, 0, 0, sum(greatest(rise, 0))
    FROM vehicle_step AS step
    JOIN moved ON moved.vehicle_id = step.vehicle_id AND valid @> earlier AND valid @> time
    GROUP BY step.vehicle_id, step.hour;
END
$$;
