-- The curves of a whole stream over whole hours, set by set. Hours up to `fresh` come from the aggregate as
-- it is, also those that a late reading has made stale since: fleet_exact_until() says from when on. Later
-- ones are made of raw, device by device, as no index is by time alone. Devices of which hours do not say
-- enough are asked one by one.

-- In: an hour. Out: what each device's hour has. (As a runtime key, the condition on `fresh` costs nothing
-- row by row.)
CREATE OR REPLACE FUNCTION ${stream}_hour_rows(hour timestamptz, fresh timestamptz)
RETURNS TABLE (
    $id text, first_second double precision, last_second double precision, first_kwh double precision,
    last_kwh double precision, min_kwh double precision, max_kwh double precision,
    steepest_kw double precision,
    deepest_fall double precision, readings bigint, sum_$mean double precision, count_$mean bigint
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT
        h.$id, h.first_second, h.last_second, h.first_kwh, h.last_kwh, h.min_kwh, h.max_kwh, h.steepest_kw,
        h.deepest_fall,
        h.readings, h.sum_$mean, h.count_$mean
    FROM ${stream}_materialized AS h
    WHERE h.bucket = CASE WHEN hour < fresh THEN hour END
    UNION ALL
    SELECT device.$id, raw.*
    FROM $latest AS device
    CROSS JOIN LATERAL (
        SELECT
            date_part('epoch', min(r.time) - hour), date_part('epoch', max(r.time) - hour),
            first(r.$counter, r.time),
            last(r.$counter, r.time), min(r.$counter), max(r.$counter),
            steepest_kw(array_agg(r.$counter), array_agg(r.time)),
            deepest_fall(array_agg(r.$counter)), count(*), sum(r.$mean), count(r.$mean)
        FROM (
            SELECT r.time, r.$counter, r.$mean FROM $history AS r
            WHERE r.$id = device.$id AND r.time >= hour AND r.time < hour + INTERVAL '1 hour'
              AND r.time >= fresh
            ORDER BY r.time
        ) AS r
        HAVING count(*) > 0
    ) AS raw
    WHERE device.time >= CASE WHEN hour >= fresh THEN hour END
$$;

-- Whether a device has sent nothing since an hour was over.
CREATE OR REPLACE FUNCTION ${stream}_is_newest(device text, hour timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000 AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM $latest AS latest WHERE latest.$id = device
        AND latest.time >= hour + INTERVAL '1 hour');
END
$$;

-- In: an hour of a window from `since` to the hour that begins at `until`. Out: each device's hour, joined
-- with the one before. What the curve rises by from the last reading of that to the hour's start, and from
-- there to its last reading; NULL where the two do not say it (by the rules of ${stream}_curve_hours(), as
-- far as two hours show them). `is_cut` says that a window's end cuts a step longer than two intervals.
CREATE OR REPLACE FUNCTION ${stream}_joined_hour(
    hour timestamptz, since timestamptz, until timestamptz, fresh timestamptz, otherwise_kw double precision
)
RETURNS TABLE (
    device text, before_kwh double precision, own_kwh double precision, readings bigint,
    sum_$mean double precision,
    count_$mean bigint, is_cut boolean
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT
        coalesce(this.$id, last.$id),
        CASE WHEN sound THEN part_of(greatest(this.first_kwh - last.max_kwh, 0), part) END,
        CASE WHEN sound THEN
            greatest(this.max_kwh - last.max_kwh, 0)
                - part_of(greatest(this.first_kwh - last.max_kwh, 0), part)
        END,
        this.readings, this.sum_$mean, this.count_$mean,
        (hour = since OR hour = until) AND elapsed > 2 * coalesce(entry.interval_seconds, 60)
            AND this.first_second > 0
    FROM ${stream}_hour_rows(hour, fresh) AS this
    FULL JOIN ${stream}_hour_rows(hour - INTERVAL '1 hour', fresh) AS last ON last.$id = this.$id
    LEFT JOIN devices AS entry ON entry.stream = '$stream' AND entry.id = coalesce(this.$id, last.$id)
    CROSS JOIN LATERAL (
        SELECT
            this.first_second + (3600 - last.last_second),
            (3600 - last.last_second) / (this.first_second + (3600 - last.last_second)),
            -- A little less than it is: what comes close to it is looked at reading by reading.
            coalesce(entry.max_kw, otherwise_kw) * (1 - 1e-9)
    ) AS step (elapsed, part, kw)
    CROSS JOIN LATERAL (
        SELECT
            this.steepest_kw <= kw AND this.deepest_fall <= fall_allowed(this.min_kwh)
            AND this.min_kwh - last.max_kwh >= -fall_allowed(last.max_kwh)
            AND this.first_kwh - last.last_kwh - 1 <= kw * elapsed / 3600
            AND (this.readings >= 4 OR (hour = until AND (this.readings > 1
            OR ${stream}_is_newest(this.$id, hour))))
    ) AS judged (sound)
$$;

-- In: a window, devices that are alone on their meter, and whom to count (NULL: all). Out: by hour,
-- from the one before the window to the one that begins at its end, and by whether devices are alone: sums of
-- what their hours say, of how many they are, and `unsound`, the devices of which an hour does not say
-- enough.
CREATE OR REPLACE FUNCTION ${stream}_hour_sums(
    since timestamptz, until timestamptz, fresh timestamptz, alone text[], wanted text[],
    otherwise_kw double precision
)
RETURNS TABLE (
    hour timestamptz, is_alone boolean, sound bigint, before_kwh double precision, own_kwh double precision,
    readings numeric, sum_$mean double precision, count_$mean numeric, is_cut boolean, unsound text[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 48
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
SET max_parallel_workers_per_gather = 0
SET timescaledb.enable_chunk_append = off AS $$
#variable_conflict use_column
BEGIN
    IF wanted = '{}' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT each_hour.hour, told.*
    FROM generate_series(since - INTERVAL '1 hour', until, INTERVAL '1 hour') AS each_hour (hour)
    CROSS JOIN LATERAL (
        SELECT
            joined.device = ANY (alone), count(joined.own_kwh), sum(joined.before_kwh), sum(joined.own_kwh),
            sum(joined.readings), sum(joined.sum_$mean), sum(joined.count_$mean), bool_or(joined.is_cut),
            array_agg(joined.device) FILTER (WHERE joined.own_kwh IS NULL)
        FROM ${stream}_joined_hour(each_hour.hour, since, until, fresh, otherwise_kw) AS joined
        WHERE wanted IS NULL OR joined.device = ANY (wanted)
        GROUP BY 1
    ) AS told;
END
$$;

-- In: as for ${stream}_fleet(), and whether all boundaries are whole hours. Out: sums by bucket and by
-- whether devices are alone, of which some take out what others have put in: those of unsound devices, which
-- then are asked themselves.
CREATE OR REPLACE FUNCTION ${stream}_fleet_parts(
    boundaries timestamptz[], whole boolean, fresh timestamptz, alone text[], wanted text[],
    otherwise_kw double precision
)
RETURNS TABLE (
    number integer, is_alone boolean, sound bigint, kwh double precision, readings numeric,
    sum_$mean double precision,
    count_$mean numeric, falls bigint, jumps bigint, ignored bigint, estimated boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100 AS $$
#variable_conflict use_column
DECLARE
    since CONSTANT timestamptz := boundaries[1];
    until CONSTANT timestamptz := boundaries[cardinality(boundaries)];
BEGIN
    RETURN QUERY
    WITH hour AS MATERIALIZED (
        SELECT * FROM ${stream}_hour_sums(since, until, fresh, alone, wanted, otherwise_kw) WHERE whole
    ), asked AS MATERIALIZED (
        SELECT unnest(unsound) AS device FROM hour
        UNION
        SELECT device FROM ${stream}_unseen(since, CASE WHEN whole THEN fresh END) AS device
        WHERE wanted IS NULL OR device = ANY (wanted)
    ), part AS (
        SELECT 1 AS sign, hour.* FROM hour
        UNION ALL
        SELECT -1, taken.*
        FROM ${stream}_hour_sums(
            since, until, fresh, alone, ARRAY(SELECT device FROM asked WHERE whole), otherwise_kw
        ) AS taken
    )
    SELECT
        width_bucket(hour, boundaries), is_alone, sign * sound, sign * own_kwh,
        CASE WHEN sign > 0 THEN part.readings END,
        CASE WHEN sign > 0 THEN part.sum_$mean END, CASE WHEN sign > 0 THEN part.count_$mean END, 0::bigint,
        0::bigint,
        0::bigint, part.is_cut AND hour = since
    FROM part
    UNION ALL
    SELECT width_bucket(hour - INTERVAL '1 hour', boundaries), is_alone, 0, sign * before_kwh, NULL, NULL,
    NULL, 0, 0, 0, is_cut AND hour = until
    FROM part
    UNION ALL
    SELECT
        own.number, asked.device = ANY (alone), num_nonnulls(own.energy_kwh), own.energy_kwh,
        CASE WHEN NOT whole THEN own.readings END, CASE WHEN NOT whole THEN own.sum_$mean END,
        CASE WHEN NOT whole THEN own.count_$mean END, own.falls, own.jumps, own.ignored, own.estimated
    FROM asked
    CROSS JOIN LATERAL ${stream}_buckets(
        asked.device, boundaries, device_max_kw('$stream', asked.device, otherwise_kw)
    ) AS own;
END
$$;

-- In: a window's start. Out: the devices that sent something after it, but have no hour that begins there;
-- all of them where `fresh` is NULL, and where raw was dropped also those that sent nothing.
CREATE OR REPLACE FUNCTION ${stream}_unseen(since timestamptz, fresh timestamptz) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10 AS $$
BEGIN
    RETURN QUERY
    SELECT latest.$id FROM $latest AS latest
    WHERE latest.time >= since OR since < raw_dropped_before('$history')
    EXCEPT
    SELECT seen.$id FROM ${stream}_hour_rows(since, fresh) AS seen;
END
$$;

-- In: the boundaries of buckets, in order; up to when hours come from the aggregate; devices that are alone
-- on their meter, and whom to count (NULL: all). Out: each bucket's sums over all devices; `alone_kwh`
-- is the energy of those alone.
CREATE OR REPLACE FUNCTION ${stream}_fleet(
    boundaries timestamptz[], fresh timestamptz, alone text[], wanted text[], otherwise_kw double precision
)
RETURNS TABLE (
    number integer, energy_kwh double precision, alone_kwh double precision, readings bigint,
    sum_$mean double precision,
    count_$mean bigint, falls bigint, jumps bigint, ignored bigint, estimated boolean, dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 24 COST 10000000
SET plan_cache_mode = force_custom_plan
SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    whole CONSTANT boolean := NOT EXISTS (
        SELECT FROM unnest(boundaries) AS bound WHERE bound <> time_bucket(INTERVAL '1 hour', bound)
    );
BEGIN
    RETURN QUERY
    SELECT
        number, CASE WHEN sum(sound) > 0 THEN sum(kwh) END,
        CASE WHEN sum(sound) FILTER (WHERE is_alone) > 0 THEN sum(kwh) FILTER (WHERE is_alone) END,
        coalesce(sum(part.readings), 0)::bigint, sum(part.sum_$mean),
        coalesce(sum(part.count_$mean), 0)::bigint,
        sum(part.falls)::bigint, sum(part.jumps)::bigint, sum(part.ignored)::bigint,
        coalesce(bool_or(part.estimated), false),
        coalesce(boundaries[1] < raw_dropped_before('$history'), false)
    FROM ${stream}_fleet_parts(boundaries, whole, fresh, alone, wanted, otherwise_kw) AS part
    WHERE number BETWEEN 1 AND cardinality(boundaries) - 1
    GROUP BY number;
END
$$;

-- In: a window. Out: every device that says anything of it: those whose hours all say enough by these, the
-- others as each says of itself.
CREATE OR REPLACE FUNCTION ${stream}_totals(
    since timestamptz, until timestamptz, fresh timestamptz, otherwise_kw double precision
)
RETURNS TABLE (
    device text, readings bigint, energy_kwh double precision, falls bigint, jumps bigint, ignored bigint,
    avg_$mean double precision, estimated boolean, dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000 COST 10000000
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
SET max_parallel_workers_per_gather = 0
SET timescaledb.enable_chunk_append = off AS $$
#variable_conflict use_column
DECLARE
    gone CONSTANT boolean := coalesce(since < raw_dropped_before('$history'), false);
BEGIN
    RETURN QUERY
    WITH told AS MATERIALIZED (
        SELECT * FROM ${stream}_sound_totals(since, until, fresh, otherwise_kw)
    )
    SELECT
        told.device, told.readings, told.energy_kwh, 0::bigint, 0::bigint, 0::bigint, told.avg_$mean,
        told.estimated, gone
    FROM told
    UNION ALL
    SELECT
        asked.$id, own.readings, own.energy_kwh, own.falls, own.jumps, own.ignored,
        quotient(own.sum_$mean, own.count_$mean), own.estimated, own.dropped
    FROM (
        SELECT latest.$id FROM $latest AS latest WHERE latest.time >= since OR gone
        EXCEPT
        SELECT told.device FROM told
    ) AS asked
    CROSS JOIN LATERAL ${stream}_buckets(
        asked.$id, ARRAY[since, until], device_max_kw('$stream', asked.$id, otherwise_kw)
    ) AS own;
END
$$;

-- In: a window. Out: the devices of which each hour of it says enough, if both its ends are whole hours.
CREATE OR REPLACE FUNCTION ${stream}_sound_totals(
    since timestamptz, until timestamptz, fresh timestamptz, otherwise_kw double precision
)
RETURNS TABLE (
    device text, readings bigint, energy_kwh double precision, avg_$mean double precision, estimated boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000 AS $$
#variable_conflict use_column
BEGIN
    IF since <> time_bucket(INTERVAL '1 hour', since) OR until <> time_bucket(INTERVAL '1 hour', until) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT
        joined.device, sum(joined.readings) FILTER (WHERE inside)::bigint,
        sum(joined.own_kwh) FILTER (WHERE inside) + sum(joined.before_kwh) FILTER (WHERE hour > since),
        quotient(sum(joined.sum_$mean) FILTER (WHERE inside), sum(joined.count_$mean) FILTER (WHERE inside)),
        bool_or(joined.is_cut)
    FROM generate_series(since - INTERVAL '1 hour', until, INTERVAL '1 hour') AS hour
    CROSS JOIN LATERAL (SELECT hour >= since AND hour < until) AS place (inside)
    CROSS JOIN LATERAL ${stream}_joined_hour(hour, since, until, fresh, otherwise_kw) AS joined
    GROUP BY joined.device
    HAVING count(joined.own_kwh) = date_part('epoch', until - since) / 3600 + 2;
END
$$;
