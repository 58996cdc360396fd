-- In: a window and spans inside of it. Out: where their ends cut a curve: in order, in microseconds since
-- `origin`.
CREATE OR REPLACE FUNCTION span_cuts(
    origin timestamptz, start timestamptz, stop timestamptz, spans tstzrange[]
)
RETURNS double precision[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF spans = ARRAY[tstzrange(start, stop)] THEN
        RETURN ARRAY[micros(origin, start), micros(origin, stop)];
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT micros(origin, cut)
        FROM unnest(spans) AS span
        CROSS JOIN LATERAL unnest(ARRAY[start, stop, lower(span), upper(span)]) AS cut
        ORDER BY 1
    );
END
$$;

-- In: the pieces of a curve that a span's ends cut, and the window `window_low` to `window_high` that energy
-- is measured in. Out: the part of the span in that window, its energy, and what was read in the span
-- (per_stream/curve_energy.sql).
CREATE OR REPLACE FUNCTION span_of_pieces(
    pieces curve_piece[], origin timestamptz, start double precision, stop double precision,
    window_low double precision, window_high double precision, closed boolean, long double precision
)
RETURNS TABLE (
    since timestamptz, until timestamptz, energy_kwh double precision, readings bigint, falls bigint,
    jumps bigint,
    ignored bigint, mean_sum double precision, mean_count bigint, estimated boolean, dropped boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
#variable_conflict use_column
DECLARE
    low      CONSTANT double precision := greatest(start, window_low);
    high     CONSTANT double precision := least(stop, window_high);
    -- Where an end of the narrowed window is no estimate, as a reading lies there, no step is cut either.
    low_cut  CONSTANT double precision := CASE WHEN NOT closed OR (low > window_low
        AND low < window_high) THEN low END;
    high_cut CONSTANT double precision := CASE WHEN NOT closed OR (high > window_low
        AND high < window_high) THEN high END;
BEGIN
    RETURN QUERY
    SELECT
        CASE WHEN low < high THEN origin + low / 1e6 * INTERVAL '1 second' END,
        CASE WHEN low < high THEN origin + high / 1e6 * INTERVAL '1 second' END,
        sum(coalesce(step_kwh + later_kwh, step_kwh, later_kwh)),
        coalesce(sum(readings) FILTER (WHERE inside), 0)::bigint,
        count(*) FILTER (WHERE inside AND outcome = 'fall'),
        count(*) FILTER (WHERE inside AND outcome = 'jump'),
        count(*) FILTER (WHERE inside AND outcome = 'ignored'),
        sum(mean_sum) FILTER (WHERE inside), coalesce(sum(mean_count) FILTER (WHERE inside), 0)::bigint,
        coalesce(bool_or(is_estimated(earlier, first, low_cut, high_cut, long)), false),
        coalesce(bool_or(dropped) FILTER (WHERE inside), false)
    FROM unnest(pieces)
    CROSS JOIN LATERAL (
        SELECT risen(first_rise, earlier, first, low, high), risen(rise, first, last, low, high),
        first >= start AND first < stop
    ) AS told (step_kwh, later_kwh, inside);
END
$$;
