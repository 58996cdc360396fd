-- The hours of one device as the curve has them.

-- In: hours. Out: those, and some before and after them, that the aggregate knows all of.
CREATE OR REPLACE FUNCTION ${stream}_fresh(low timestamptz, beyond timestamptz) RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    far    CONSTANT interval := CASE WHEN low > now() - INTERVAL '33 hours' THEN INTERVAL '3 hours'
        ELSE INTERVAL '100 days' END;
    around CONSTANT tstzrange := tstzrange(low - far, beyond + far);
BEGIN
    RETURN tstzmultirange(around) - stale_hours('$hourly', around);
END
$$;

-- In: hours, cuts, and the hours that the aggregate knows all of. Out: these hours and a few before and
-- after, in order, each as a piece of the curve. `before` is the time, the register and the mark of the last
-- reading before it. `seed` is the same of its own last reading, where a scan may begin with that: where it
-- is plain. In a plain hour its own steps and the one to it are plausible, and no register falls too
-- far under the running mark. If the step to the next reading is plausible as well, the
-- hour is `sure`: it has no glitch and no reset. It has four readings at
-- least: fewer may lie inside a glitch that has both its ends elsewhere. Of what raw has no more, the
-- aggregate is taken at its word.
CREATE OR REPLACE FUNCTION ${stream}_curve_hours(
    device text, origin timestamptz, low timestamptz, beyond timestamptz, cuts double precision[],
    fresh tstzmultirange,
    max_kw double precision
)
RETURNS TABLE (
    bucket timestamptz, piece curve_piece, before double precision[], seed double precision[], sure boolean,
    parted boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 27 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH judged AS MATERIALIZED (
        SELECT
            hour.*,
            readings >= 4 AND steepest_kw <= max_kw * (1 - 1e-9)
            AND deepest_fall <= fall_allowed(min_kwh)
            AND min_kwh - before_max >= -fall_allowed(before_max)
            AND plausible(first_kwh, before_kwh, first - earlier, max_kw)
            AND fresh @> tstzrange(before, bucket) AS plain
        FROM ${stream}_neighbours(device, origin, low, beyond, fresh) AS hour
    ), marked AS MATERIALIZED (
        SELECT
            judged.*, CASE WHEN plain OR NOT dropped THEN max_kwh ELSE last_kwh END AS highest,
            CASE
                WHEN plain OR NOT dropped THEN before_max
                WHEN plausible(last_kwh, before_kwh, last - earlier, max_kw) THEN before_kwh
                ELSE last_kwh
            END AS mark
        FROM judged
    )
    SELECT
        bucket,
        ROW(
            earlier, first, last, least(greatest(first_kwh - mark, 0), greatest(highest - mark, 0)),
            greatest(highest - mark, 0) - least(greatest(first_kwh - mark, 0), greatest(highest - mark, 0)),
            'kept',
            last_kwh, readings, mean_sum, mean_count, dropped
        )::curve_piece,
        ARRAY[earlier, before_kwh, mark], CASE WHEN plain OR dropped THEN ARRAY[last, last_kwh, highest] END,
        coalesce(
            plain AND plausible(next_kwh, last_kwh, next - last, max_kw)
                AND fresh @> tstzrange(bucket, after), false
        ) OR dropped,
        NOT dropped AND width_bucket(start, cuts) < width_bucket(start + 3.6e9 - 0.5, cuts)
    FROM marked
    ORDER BY bucket;
END
$$;
