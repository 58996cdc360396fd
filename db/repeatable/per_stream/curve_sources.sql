-- Where a device's curve comes from: its hours from the aggregate, its readings from raw. Each is asked by
-- one of two bodies: chunks are excluded while planning, and a plan without that locks every chunk there is
-- (decision 26). `recent` is planned once a session, for tables that now() bounds; `older` is planned
-- at each call. Times are microseconds since `origin`, a whole UTC hour.

-- In: a span, and how many readings after it are wanted. Out: the readings of low <= time < high and those,
-- in order.
CREATE OR REPLACE FUNCTION ${stream}_readings_recent(
    device text, origin timestamptz, low timestamptz, high timestamptz, ahead integer
)
RETURNS TABLE (taken double precision, kwh double precision, mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 60 AS $$
BEGIN
    RETURN QUERY
    SELECT micros(origin, r.time), r.$counter, r.$mean FROM $history AS r
    WHERE r.$id = device AND r.time >= low AND r.time < high AND r.time > now() - INTERVAL '2 days'
    ORDER BY r.time;
    IF ahead > 0 THEN
        RETURN QUERY
        SELECT micros(origin, r.time), r.$counter, r.$mean FROM $history AS r
        WHERE r.$id = device AND r.time >= high AND r.time > now() - INTERVAL '2 days'
        ORDER BY r.time
        LIMIT ahead;
    END IF;
END
$$;

-- In and out: as ${stream}_readings_recent(), of any time.
CREATE OR REPLACE FUNCTION ${stream}_readings_older(
    device text, origin timestamptz, low timestamptz, high timestamptz, ahead integer
)
RETURNS TABLE (taken double precision, kwh double precision, mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 60
SET plan_cache_mode = force_custom_plan
SET timescaledb.enable_chunk_append = on AS $$
DECLARE
    -- Nearly always those are near: to look for them everywhere locks every chunk.
    near  CONSTANT timestamptz := high + INTERVAL '1 day';
    found integer;
BEGIN
    RETURN QUERY
    SELECT micros(origin, r.time), r.$counter, r.$mean FROM $history AS r
    WHERE r.$id = device AND r.time >= low AND r.time < high
    ORDER BY r.time;
    IF ahead > 0 THEN
        RETURN QUERY
        SELECT micros(origin, r.time), r.$counter, r.$mean FROM $history AS r
        WHERE r.$id = device AND r.time >= high AND r.time < near
        ORDER BY r.time
        LIMIT ahead;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found < ahead THEN
            RETURN QUERY
            SELECT micros(origin, r.time), r.$counter, r.$mean FROM $history AS r
            WHERE r.$id = device AND r.time >= near
            ORDER BY r.time
            LIMIT ahead - found;
        END IF;
    END IF;
END
$$;

-- In and out: as ${stream}_readings_recent(), of any time, by the body that fits.
CREATE OR REPLACE FUNCTION ${stream}_readings(
    device text, origin timestamptz, low timestamptz, high timestamptz, ahead integer
)
RETURNS TABLE (taken double precision, kwh double precision, mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 60 AS $$
BEGIN
    -- Half a day less than `recent` reads: a kept plan covers this even after the clock was set back by as
    -- much.
    IF low > now() - INTERVAL '36 hours' THEN
        RETURN QUERY SELECT * FROM ${stream}_readings_recent(device, origin, low, high, ahead);
    ELSE
        RETURN QUERY SELECT * FROM ${stream}_readings_older(device, origin, low, high, ahead);
    END IF;
END
$$;

-- In: hours of the last two days. Out: what the aggregate has of them.
CREATE OR REPLACE FUNCTION ${stream}_hours_recent(device text, low timestamptz, high timestamptz)
RETURNS TABLE (
    bucket timestamptz, first_second double precision, last_second double precision,
    first_kwh double precision,
    last_kwh double precision, min_kwh double precision, max_kwh double precision,
    steepest_kw double precision,
    deepest_fall double precision, readings bigint, sum_$mean double precision, count_$mean bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 27 AS $$
BEGIN
    RETURN QUERY
    SELECT
        h.bucket, h.first_second, h.last_second, h.first_kwh, h.last_kwh, h.min_kwh, h.max_kwh, h.steepest_kw,
        h.deepest_fall, h.readings, h.sum_$mean, h.count_$mean
    FROM ${stream}_known_hours AS h
    WHERE h.$id = device AND h.bucket >= low AND h.bucket <= high AND h.bucket > now() - INTERVAL '2 days';
END
$$;

-- In: hours. Out: what the aggregate has of them and of two more on either side, however far away.
CREATE OR REPLACE FUNCTION ${stream}_hours_older(device text, low timestamptz, high timestamptz)
RETURNS TABLE (
    bucket timestamptz, first_second double precision, last_second double precision,
    first_kwh double precision,
    last_kwh double precision, min_kwh double precision, max_kwh double precision,
    steepest_kw double precision,
    deepest_fall double precision, readings bigint, sum_$mean double precision, count_$mean bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 27
SET plan_cache_mode = force_custom_plan
SET timescaledb.enable_chunk_append = on AS $$
BEGIN
    RETURN QUERY
    (
        SELECT
            h.bucket, h.first_second, h.last_second, h.first_kwh, h.last_kwh, h.min_kwh, h.max_kwh,
            h.steepest_kw,
            h.deepest_fall, h.readings, h.sum_$mean, h.count_$mean
        FROM ${stream}_known_hours AS h
        WHERE h.$id = device AND h.bucket < low
        ORDER BY h.bucket DESC
        LIMIT 2
    )
    UNION ALL
    SELECT
        h.bucket, h.first_second, h.last_second, h.first_kwh, h.last_kwh, h.min_kwh, h.max_kwh, h.steepest_kw,
        h.deepest_fall, h.readings, h.sum_$mean, h.count_$mean
    FROM ${stream}_known_hours AS h
    WHERE h.$id = device AND h.bucket >= low AND h.bucket <= high
    UNION ALL
    (
        SELECT
            h.bucket, h.first_second, h.last_second, h.first_kwh, h.last_kwh, h.min_kwh, h.max_kwh,
            h.steepest_kw,
            h.deepest_fall, h.readings, h.sum_$mean, h.count_$mean
        FROM ${stream}_known_hours AS h
        WHERE h.$id = device AND h.bucket > high
        ORDER BY h.bucket
        LIMIT 2
    );
END
$$;

-- In: hours, and those that the aggregate knows all of. Out: what it has of these and of a few before and
-- after them. Each has the last and the highest register of the hour with readings before, and the first
-- register of the one after.
CREATE OR REPLACE FUNCTION ${stream}_neighbours(
    device text, origin timestamptz, low timestamptz, beyond timestamptz, fresh tstzmultirange
)
RETURNS TABLE (
    bucket timestamptz, start double precision, first double precision, last double precision,
    first_kwh double precision,
    last_kwh double precision, min_kwh double precision, max_kwh double precision,
    steepest_kw double precision,
    deepest_fall double precision, readings bigint, mean_sum double precision, mean_count bigint,
    dropped boolean,
    before timestamptz, earlier double precision, before_kwh double precision, before_max double precision,
    after timestamptz, next double precision, next_kwh double precision
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 27 AS $$
#variable_conflict use_column
DECLARE
    bottom CONSTANT timestamptz := low - INTERVAL '3 hours';
    top    CONSTANT timestamptz := beyond + INTERVAL '2 hours';
    recent CONSTANT boolean     := bottom > now() - INTERVAL '36 hours';
    gone   CONSTANT timestamptz := coalesce(raw_dropped_before('$history'), '-infinity');
BEGIN
    RETURN QUERY
    WITH told AS (
        SELECT * FROM ${stream}_hours_recent(device, bottom, top) WHERE recent
        UNION ALL
        SELECT * FROM ${stream}_hours_older(device, bottom, top) WHERE NOT recent
    ), placed AS (
        SELECT
            told.bucket, of_hour.start, of_hour.start + round(1e6 * first_second) AS first,
            of_hour.start + round(1e6 * last_second) AS last, told.first_kwh, told.last_kwh, told.min_kwh,
            told.max_kwh,
            told.steepest_kw, told.deepest_fall, told.readings, sum_$mean AS mean_sum,
            count_$mean AS mean_count
        FROM told
        CROSS JOIN LATERAL micros(origin, told.bucket) AS of_hour (start)
        WHERE multirange_contains_elem(fresh, told.bucket)
    )
    SELECT
        placed.*, placed.bucket < gone, lag(placed.bucket) OVER life, lag(placed.last) OVER life,
        lag(placed.last_kwh) OVER life, lag(placed.max_kwh) OVER life, lead(placed.bucket) OVER life,
        lead(placed.first) OVER life, lead(placed.first_kwh) OVER life
    FROM placed
    WINDOW life AS (ORDER BY placed.bucket);
END
$$;

-- In: a time. Out: from which reading before it a scan keeps what a scan from the beginning keeps, and knows
-- the marks: from the last six plausible steps in a row before two UTC hours with readings. -infinity: that
-- would be before the first reading; NULL: there is no reading before. It is looked for from `since`
-- on first, and then everywhere.
CREATE OR REPLACE FUNCTION ${stream}_scan_start(
    device text, before timestamptz, max_kw double precision, since timestamptz
)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
SET timescaledb.enable_chunk_append = on AS $$
DECLARE
    reading record;
    later   record;
    hour    timestamptz;
    hours   integer := 0;
    steady  integer := 0;
BEGIN
    FOR reading IN
        SELECT r.time, r.$counter AS kwh FROM $history AS r
        WHERE r.$id = device AND r.time < before AND r.time >= since
        ORDER BY r.time DESC
    LOOP
        IF hour IS DISTINCT FROM time_bucket(INTERVAL '1 hour', reading.time) THEN
            hour := time_bucket(INTERVAL '1 hour', reading.time);
            hours := hours + 1;
        END IF;
        IF hours > 2 THEN
            steady := CASE
                WHEN plausible(later.kwh, reading.kwh, micros(reading.time, later.time), max_kw) THEN
                    steady + 1
                ELSE 0
            END;
            IF steady = 6 THEN
                RETURN reading.time;
            END IF;
        END IF;
        later := reading;
    END LOOP;
    RETURN CASE
        WHEN since > '-infinity' THEN ${stream}_scan_start(device, before, max_kw, '-infinity')
        WHEN hours > 0 THEN '-infinity'
    END;
END
$$;
