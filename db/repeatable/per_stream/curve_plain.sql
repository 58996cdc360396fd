-- The short way to one span's energy, where hours say it. The whole ones do so by their highest registers.
-- For the two that the span's ends cut, it looks at the readings on either side of the cut. It says what
-- ${stream}_pieces() come to.

-- In: an hour and a time in it. Out: of its readings before the time and from it on: when the nearest was
-- taken, how many they are, and the sums for a mean; the highest register before it, and the register of the
-- next reading.
CREATE OR REPLACE FUNCTION ${stream}_cut_hour(
    device text, origin timestamptz, hour timestamptz, cut double precision,
    OUT before double precision, OUT highest double precision, OUT before_readings bigint,
    OUT before_sum double precision, OUT before_count bigint,
    OUT after double precision, OUT kwh double precision, OUT after_readings bigint,
    OUT after_sum double precision, OUT after_count bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    SELECT
        max(r.taken) FILTER (WHERE r.taken < cut), max(r.kwh) FILTER (WHERE r.taken < cut),
        count(*) FILTER (WHERE r.taken < cut), sum(r.mean) FILTER (WHERE r.taken < cut),
        count(r.mean) FILTER (WHERE r.taken < cut),
        min(r.taken) FILTER (WHERE r.taken >= cut), first(r.kwh, r.taken) FILTER (WHERE r.taken >= cut),
        count(*) FILTER (WHERE r.taken >= cut), sum(r.mean) FILTER (WHERE r.taken >= cut),
        count(r.mean) FILTER (WHERE r.taken >= cut)
    INTO
        before, highest, before_readings, before_sum, before_count,
        after, kwh, after_readings, after_sum, after_count
    FROM ${stream}_readings_recent(device, origin, hour, hour + INTERVAL '1 hour', 0) AS r;
END
$$;

-- In: hours that the aggregate knows all of. Out: whether all of them and the one before are sound, as
-- ${stream}_curve_hours() has it; what the curve rises by in those between the first and the last, and their
-- sums; the marks that the first and the last begin with, and the times of the readings before them; the
-- first's highest register; the time and the register of the last's last reading.
CREATE OR REPLACE FUNCTION ${stream}_plain_hours(
    device text, origin timestamptz, low timestamptz, high timestamptz, max_kw double precision,
    OUT sound boolean, OUT rise double precision, OUT readings bigint, OUT mean_sum double precision,
    OUT mean_count bigint, OUT low_mark double precision, OUT low_before double precision,
    OUT low_highest double precision, OUT high_mark double precision, OUT high_before double precision,
    OUT last double precision, OUT last_kwh double precision
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    hour CONSTANT interval := INTERVAL '1 hour';
BEGIN
    SELECT
        count(*) FILTER (WHERE h.bucket >= low - hour AND h.is_sound)
            = date_part('epoch', high - low) / 3600 + 2,
        coalesce(sum(greatest(h.max_kwh - h.mark, 0)) FILTER (WHERE h.inside), 0),
        coalesce(sum(h.readings) FILTER (WHERE h.inside), 0)::bigint,
        sum(h.sum_$mean) FILTER (WHERE h.inside),
        coalesce(sum(h.count_$mean) FILTER (WHERE h.inside), 0)::bigint,
        max(h.mark) FILTER (WHERE h.bucket = low), max(h.before) FILTER (WHERE h.bucket = low),
        max(h.max_kwh) FILTER (WHERE h.bucket = low),
        max(h.mark) FILTER (WHERE h.bucket = high), max(h.before) FILTER (WHERE h.bucket = high),
        micros(origin, high) + round(1e6 * max(h.last_second) FILTER (WHERE h.bucket = high)),
        max(h.last_kwh) FILTER (WHERE h.bucket = high)
    INTO
        sound, rise, readings, mean_sum, mean_count, low_mark, low_before, low_highest, high_mark,
        high_before,
        last, last_kwh
    FROM (
        SELECT
            told.*, told.bucket > low AND told.bucket < high AS inside, lag(told.max_kwh) OVER life AS mark,
            micros(origin, lag(told.bucket) OVER life) + round(1e6 * lag(told.last_second) OVER life)
                AS before,
            told.readings >= 4 AND told.steepest_kw <= max_kw * (1 - 1e-9)
            AND told.deepest_fall <= fall_allowed(told.min_kwh)
            AND told.min_kwh - lag(told.max_kwh) OVER life >= -fall_allowed(lag(told.max_kwh) OVER life)
            AND told.first_kwh - lag(told.last_kwh) OVER life - 1
                <= max_kw * (1 - 1e-9) * (told.first_second + 3600 - lag(told.last_second) OVER life) / 3600
            AND lag(told.bucket) OVER life = told.bucket - hour AS is_sound
        FROM ${stream}_hours_recent(device, low - 2 * hour, high) AS told
        WINDOW life AS (ORDER BY told.bucket)
    ) AS h;
END
$$;

-- In: an hour's end, the last reading before it and its register. Out: whether the next step is plausible, or
-- there is none yet.
CREATE OR REPLACE FUNCTION ${stream}_goes_on(
    device text, origin timestamptz, ended timestamptz, last double precision, last_kwh double precision,
    max_kw double precision
)
RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT plausible(next.kwh, last_kwh, next.taken - last, max_kw)
            FROM ${stream}_readings_recent(device, origin, ended, ended, 1) AS next
        ),
        true
    );
END
$$;

-- In: a span, and whether it is to be narrowed to its first and last reading. Out: what ${stream}_spans()
-- says of it; no row where hours do not say that: where one is stale, is older than a day or two, or may
-- have a glitch or a reset.
CREATE OR REPLACE FUNCTION ${stream}_plain_span(
    device text, start timestamptz, stop timestamptz, closed boolean, max_kw double precision,
    long double precision
)
RETURNS TABLE (
    number bigint, since timestamptz, until timestamptz, energy_kwh double precision, readings bigint,
    falls bigint,
    jumps bigint, ignored bigint, sum_$mean double precision, count_$mean bigint, estimated boolean,
    dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
#variable_conflict use_variable
DECLARE
    hour   CONSTANT interval := INTERVAL '1 hour';
    low    CONSTANT timestamptz := time_bucket(hour, start);
    high   CONSTANT timestamptz := time_bucket(hour, stop);
    begun  CONSTANT double precision := micros(low, start);
    ended  CONSTANT double precision := micros(low, stop);
    hours  record;
    head   record;
    tail   record;
    first  double precision;  -- what is left of the first hour's rise
    last   double precision;  -- what the last hour rises by up to the end
BEGIN
    IF low >= high OR low - 2 * hour < now() - INTERVAL '36 hours'
        OR stale_hours('$hourly', tstzrange(low - 2 * hour, high + hour)) <> '{}' THEN
        RETURN;
    END IF;
    hours := ${stream}_plain_hours(device, low, low, high, max_kw);
    IF hours.sound IS NOT TRUE
        OR NOT ${stream}_goes_on(device, low, high + hour, hours.last, hours.last_kwh, max_kw) THEN
        RETURN;
    END IF;
    head := ${stream}_cut_hour(device, low, low, begun);
    tail := ${stream}_cut_hour(device, low, high, ended);
    IF head.after IS NULL OR tail.after IS NULL THEN
        RETURN;
    END IF;
    head.before := coalesce(head.before, hours.low_before);
    head.highest := greatest(head.highest, hours.low_mark);
    tail.before := coalesce(tail.before, hours.high_before);
    tail.highest := greatest(tail.highest, hours.high_mark);
    first := greatest(hours.low_highest, hours.low_mark) - head.highest - part_of(
        greatest(head.kwh - head.highest, 0),
        CASE WHEN closed THEN 1 ELSE (begun - head.before) / (head.after - head.before) END
    );
    last := tail.highest - hours.high_mark + part_of(
        greatest(tail.kwh - tail.highest, 0),
        CASE WHEN closed THEN 0 ELSE (ended - tail.before) / (tail.after - tail.before) END
    );
    RETURN QUERY
    SELECT
        1::bigint, CASE WHEN closed THEN low + head.after / 1e6 * INTERVAL '1 second' ELSE start END,
        CASE WHEN closed THEN low + tail.before / 1e6 * INTERVAL '1 second' ELSE stop END,
        first + hours.rise + last,
        head.after_readings + hours.readings + tail.before_readings, 0::bigint, 0::bigint, 0::bigint,
        coalesce(head.after_sum, 0) + coalesce(hours.mean_sum, 0) + coalesce(tail.before_sum, 0),
        head.after_count + hours.mean_count + tail.before_count,
        NOT closed AND (
            (head.after - head.before > long AND begun < head.after)
            OR (tail.after - tail.before > long AND ended < tail.after)
        ), false;
END
$$;
