-- The steps of some devices over since < time <= until, from raw: each with its later reading's time and hour (the last hour has `until`
-- as well), its earlier reading's time, and what its counter rose by. A device's first reading has neither of the latter. It becomes
-- part of what asks, as ${stream}_hours() does.
CREATE OR REPLACE FUNCTION ${stream}_steps(devices text[], since timestamptz, until timestamptz)
RETURNS TABLE ($id text, "time" timestamptz, hour timestamptz, earlier timestamptz, rise double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $$
    SELECT
        r.$id, r.time, least(time_bucket(INTERVAL '1 hour', r.time), until - INTERVAL '1 hour'),
        lag(r.time) OVER device, r.$counter - lag(r.$counter) OVER device
    FROM $history AS r
    WHERE r.$id = ANY (devices) AND r.time > since AND r.time <= until
    WINDOW device AS (PARTITION BY r.$id ORDER BY r.time)
$$;
