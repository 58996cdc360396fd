-- What a device's curve says of spans of time: energy as V(end) - V(start), and what was read meanwhile.

-- In: boundaries in order. Out: the buckets between neighbours, [start, end), as far as there
-- is something in them. Energy is NULL where the curve is unknown. It is `estimated` where the start or the
-- end of all lies in the bucket and cuts a step longer than two intervals.
CREATE OR REPLACE FUNCTION ${stream}_buckets(device text, boundaries timestamptz[], max_kw double precision)
RETURNS TABLE (
    number integer, energy_kwh double precision, last_kwh double precision, readings bigint, falls bigint,
    jumps bigint,
    ignored bigint, sum_$mean double precision, count_$mean bigint, estimated boolean, dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 24
SET plan_cache_mode = force_generic_plan
-- Of no use further in, where TimescaleDB has excluded chunks already.
SET constraint_exclusion = off
SET timescaledb.enable_chunk_append = off
SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := time_bucket(INTERVAL '1 hour', boundaries[1]);
    cuts   CONSTANT double precision[] := ARRAY(SELECT micros(origin, bound) FROM unnest(boundaries)
        AS bound);
    ends   CONSTANT integer := cardinality(cuts);
    long   CONSTANT double precision := 2e6 * device_interval('$stream', device);
BEGIN
    RETURN QUERY
    SELECT
        number, sum(coalesce(step_kwh + later_kwh, step_kwh, later_kwh)),
        last(kwh, last) FILTER (WHERE inside AND kwh IS NOT NULL),
        coalesce(sum(readings) FILTER (WHERE inside), 0)::bigint,
        count(*) FILTER (WHERE inside AND outcome = 'fall'),
        count(*) FILTER (WHERE inside AND outcome = 'jump'),
        count(*) FILTER (WHERE inside AND outcome = 'ignored'),
        sum(mean_sum) FILTER (WHERE inside), coalesce(sum(mean_count) FILTER (WHERE inside), 0)::bigint,
        coalesce(bool_or(is_estimated(earlier, first, cuts[1], cuts[ends], long)), false),
        coalesce(bool_or(dropped) FILTER (WHERE inside), false)
    FROM ${stream}_pieces(device, origin, cuts, max_kw)
    CROSS JOIN LATERAL generate_series(
        greatest(width_bucket(coalesce(earlier, first), cuts), 1), least(width_bucket(last, cuts), ends - 1)
    ) AS number
    CROSS JOIN LATERAL (
        SELECT
            risen(first_rise, earlier, first, cuts[number], cuts[number + 1]),
            risen(rise, first, last, cuts[number], cuts[number + 1]), width_bucket(first, cuts) = number
    ) AS told (step_kwh, later_kwh, inside)
    GROUP BY number;
END
$$;

-- In: spans inside of a window, which may overlap. Out: each span. With `closed`, the window is first
-- narrowed to its first and last kept reading: then energy is that of the span's part in it, `since` to
-- `until`. `estimated` says that an end of that part cuts a step longer than two intervals, other than an end
-- of the narrowed window.
CREATE OR REPLACE FUNCTION ${stream}_spans(
    device text, start timestamptz, stop timestamptz, closed boolean, spans tstzrange[],
    max_kw double precision
)
RETURNS TABLE (
    number bigint, since timestamptz, until timestamptz, energy_kwh double precision, readings bigint,
    falls bigint,
    jumps bigint, ignored bigint, sum_$mean double precision, count_$mean bigint, estimated boolean,
    dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
SET plan_cache_mode = force_generic_plan
SET constraint_exclusion = off
SET timescaledb.enable_chunk_append = off
SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    origin CONSTANT timestamptz := time_bucket(INTERVAL '1 hour', start);
    cuts   double precision[];
    long   CONSTANT double precision := 2e6 * device_interval('$stream', device);
    pieces curve_piece[];
    low    double precision := micros(origin, start);
    high   double precision := micros(origin, stop);
BEGIN
    IF spans = ARRAY[tstzrange(start, stop)] THEN
        RETURN QUERY SELECT * FROM ${stream}_plain_span(device, start, stop, closed, max_kw, long);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    cuts := span_cuts(origin, start, stop, spans);
    pieces := ARRAY(SELECT piece FROM ${stream}_pieces(device, origin, cuts, max_kw) AS piece);
    IF closed THEN
        SELECT coalesce(min(first), 'infinity'), coalesce(max(last), '-infinity') INTO low, high
        FROM unnest(pieces)
        WHERE outcome <> 'ignored' AND first >= low AND first < high;
    END IF;
    RETURN QUERY
    SELECT span.number, part.*
    FROM unnest(spans) WITH ORDINALITY AS span (span, number)
    CROSS JOIN LATERAL span_of_pieces(
        pieces, origin, micros(origin, lower(span.span)), micros(origin, upper(span.span)), low, high, closed,
        long
    ) AS part;
END
$$;

-- For a DBA. In: a device and a span. Out: its energy by the power that is registered, and what was read
-- meanwhile.
CREATE OR REPLACE FUNCTION ${stream}_energy(device text, span tstzrange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint, avg_$mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
DECLARE
    asked CONSTANT tstzrange := half_open(span);
BEGIN
    RETURN QUERY
    SELECT told.readings, told.energy_kwh, told.falls + told.jumps, quotient(told.sum_$mean, told.count_$mean)
    FROM ${stream}_spans(
        device, lower(asked), upper(asked), false, ARRAY[asked], device_max_kw('$stream', device)
    ) AS told;
END
$$;
COMMENT ON FUNCTION ${stream}_energy(text, tstzrange) IS
    'Energy in kWh that a $stream counted over a span (NULL: unknown), its readings, the resets of its '
    'register, its mean $mean';
