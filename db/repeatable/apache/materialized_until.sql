-- In: an hourly aggregate. Out: minus infinity: without continuous aggregates nothing is materialized.
CREATE OR REPLACE FUNCTION materialized_until(aggregate text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '-infinity'::timestamptz;
