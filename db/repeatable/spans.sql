-- In: a span. Out: the same as [from, to): timestamps count whole microseconds. (STABLE, as `timestamptz +
-- interval` is, or it would not be inlined.)
CREATE OR REPLACE FUNCTION half_open(span tstzrange) RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN tstzrange(
    lower(span) + CASE WHEN lower_inc(span) THEN INTERVAL '0' ELSE INTERVAL '1 microsecond' END,
    upper(span) + CASE WHEN upper_inc(span) THEN INTERVAL '1 microsecond' ELSE INTERVAL '0' END
);
