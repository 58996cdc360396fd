-- In: an aggregate and a span. Out: all hours of the span: without continuous aggregates nothing is
-- materialized, and raw is read straight through its index, never through the views.
CREATE OR REPLACE FUNCTION stale_hours(aggregate text, span tstzrange) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN tstzmultirange(tstzrange(
    time_bucket(INTERVAL '1 hour', lower(span)),
    time_bucket(INTERVAL '1 hour', upper(span)) + INTERVAL '1 hour'
));
