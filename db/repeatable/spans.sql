-- The span as [from, to): timestamps count whole microseconds. (STABLE, as `timestamptz + interval` is, or it would not be inlined.)
CREATE OR REPLACE FUNCTION half_open(span tstzrange) RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN tstzrange(
    lower(span) + CASE WHEN lower_inc(span) THEN INTERVAL '0' ELSE INTERVAL '1 microsecond' END,
    upper(span) + CASE WHEN upper_inc(span) THEN INTERVAL '1 microsecond' ELSE INTERVAL '0' END
);

-- The whole UTC hours inside a half-open span.
CREATE OR REPLACE FUNCTION whole_hours(span tstzrange) RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN upper(span) - lower(span) >= INTERVAL '1 hour' THEN
        tstzmultirange(tstzrange(
            time_bucket(INTERVAL '1 hour', lower(span) + INTERVAL '1 hour' - INTERVAL '1 microsecond'),
            greatest(
                time_bucket(INTERVAL '1 hour', upper(span)),
                time_bucket(INTERVAL '1 hour', lower(span) + INTERVAL '1 hour' - INTERVAL '1 microsecond')
            )
        ))
    ELSE '{}'::tstzmultirange
END;
