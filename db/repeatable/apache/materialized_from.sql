-- Without continuous aggregates nothing is materialized.
CREATE OR REPLACE FUNCTION materialized_from(aggregate text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'infinity'::timestamptz;
