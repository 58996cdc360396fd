-- What each vehicle drew from a meter in a window, piece by piece; a piece that boundaries of the window part
-- comes in parts. UTC hours and the bounds of the meter's mappings cut time into pieces with one set of
-- vehicles each, whatever the window is. A piece's energy is split in proportion to what the vehicles' own
-- curves rise by in the whole piece, evenly where none rises; of a piece that the window cuts, a vehicle has
-- the same part of what the window has of it. Pieces without a vehicle or of unknown energy are left out.
-- `uncertain` says that the split rests on a vehicle that was not heard at the piece's start, or not within
-- two intervals of its end.
CREATE OR REPLACE FUNCTION meter_shares(
    on_meter text, boundaries timestamptz[], otherwise_kw double precision
)
RETURNS TABLE (vehicle_id text, start timestamptz, stop timestamptz, kwh double precision, uncertain boolean)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 24 AS $$
#variable_conflict use_column
DECLARE
    hour    CONSTANT interval := INTERVAL '1 hour';
    since   CONSTANT timestamptz := boundaries[1];
    until   CONSTANT timestamptz := boundaries[cardinality(boundaries)];
    whole   timestamptz[];  -- the bounds of the pieces that the window touches
    clipped timestamptz[];  -- those inside of the window, and its boundaries
BEGIN
    SELECT array_agg(cut ORDER BY cut) INTO whole
    FROM meter_cuts(on_meter, time_bucket(hour, since), time_bucket(hour, until) + hour) AS cut;
    whole := ARRAY(
        SELECT cut FROM unnest(whole) AS cut
        WHERE cut >= (SELECT max(early) FROM unnest(whole) AS early WHERE early <= since)
          AND cut <= (SELECT min(late) FROM unnest(whole) AS late WHERE late >= until)
        ORDER BY cut
    );
    clipped := ARRAY(
        SELECT DISTINCT cut FROM unnest(whole || boundaries) AS cut WHERE cut >= since
            AND cut <= until ORDER BY cut
    );
    RETURN QUERY
    WITH piece AS MATERIALIZED (
        SELECT
            part.number AS part, within AS number, whole[within] AS start, whole[within + 1] AS stop,
            clipped[part.number] AS part_start, clipped[part.number + 1] AS part_stop, part.energy_kwh
        FROM meter_buckets(on_meter, clipped, device_max_kw('meter', on_meter, otherwise_kw)) AS part
        CROSS JOIN LATERAL width_bucket(clipped[part.number], whole) AS within
        WHERE part.energy_kwh IS NOT NULL
    ), held AS MATERIALIZED (
        SELECT piece.*, mapping.vehicle_id, count(*) OVER (PARTITION BY part) AS vehicles
        FROM piece
        JOIN vehicle_meter_mapping AS mapping
            ON mapping.meter_id = on_meter AND mapping.valid && tstzrange(since, until)
            AND mapping.valid @> tstzrange(piece.start, piece.stop)
    ), own AS MATERIALIZED (
        SELECT shared.vehicle_id, bucket.number, bucket.energy_kwh AS rose
        FROM (SELECT DISTINCT held.vehicle_id FROM held WHERE vehicles > 1) AS shared
        CROSS JOIN LATERAL vehicle_buckets(
            shared.vehicle_id, whole, device_max_kw('vehicle', shared.vehicle_id, otherwise_kw)
        ) AS bucket
    ), split AS (
        SELECT
            held.*, coalesce(own.rose, 0) AS rose, sum(own.rose) OVER piece AS all_rose,
            vehicles > 1 AND bool_or(vehicles > 1
                AND NOT is_heard(held.vehicle_id, held.start, held.stop)) OVER piece AS uncertain
        FROM held
        LEFT JOIN own ON own.vehicle_id = held.vehicle_id AND own.number = held.number
        WINDOW piece AS (PARTITION BY held.part)
    )
    SELECT
        split.vehicle_id, split.part_start, split.part_stop,
        CASE WHEN vehicles = 1 THEN energy_kwh
            ELSE part_of(energy_kwh, coalesce(quotient(rose, all_rose), 1.0 / vehicles)) END,
        split.uncertain
    FROM split;
END
$$;

-- The times between two whole hours, both included, at which a meter's pieces may meet: each hour, each bound
-- of a mapping.
CREATE OR REPLACE FUNCTION meter_cuts(
    on_meter text, since timestamptz, until timestamptz
)
RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 25 AS $$
BEGIN
    RETURN QUERY
    SELECT hour FROM generate_series(since, until, INTERVAL '1 hour') AS hour
    UNION
    SELECT bound
    FROM vehicle_meter_mapping AS mapping
    CROSS JOIN LATERAL unnest(ARRAY[lower(mapping.valid), upper(mapping.valid)]) AS bound
    WHERE mapping.meter_id = on_meter AND mapping.valid && tstzrange(since, until) AND bound > since
      AND bound < until;
END
$$;

-- Whether a vehicle's curve is known at a piece's start, and up to within two intervals of its end.
CREATE OR REPLACE FUNCTION is_heard(vehicle text, start timestamptz, stop timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM vehicles_latest AS latest
        WHERE latest.vehicle_id = vehicle
          AND latest.time >= stop - 2 * device_interval('vehicle', vehicle) * INTERVAL '1 second'
    ) AND (
        (
            SELECT reading.time FROM vehicle_telemetry AS reading
            WHERE reading.vehicle_id = vehicle AND reading.time <= start
            ORDER BY reading.time DESC
            LIMIT 1
        ) IS NOT NULL
        OR EXISTS (
            SELECT FROM vehicle_known_hours AS hour
            WHERE hour.vehicle_id = vehicle AND hour.bucket < start
              AND hour.bucket + hour.first_second * INTERVAL '1 second' <= start
              AND hour.bucket < raw_dropped_before('vehicle_telemetry')
        )
    );
END
$$;
