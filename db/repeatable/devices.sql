-- The time between two readings, in s, where the register says `registered` of it, or nothing.
CREATE OR REPLACE FUNCTION effective_interval(registered double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(registered, 60);

-- The age of the newest reading, in s, past which a device is stale: so many of its intervals.
CREATE OR REPLACE FUNCTION stale_age(registered double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 5 * effective_interval(registered);

-- The time between two readings of a device, in s: as registered, or the default. In plpgsql, which keeps its
-- plan, as what follows.
CREATE OR REPLACE FUNCTION device_interval(of_stream text, device text) RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN effective_interval((SELECT interval_seconds FROM devices WHERE stream = of_stream
        AND id = device));
END
$$;

-- The highest power of a device, in kW: as registered, or `otherwise`, which the service gives from
-- FLEETWATT_MAX_KW.
CREATE OR REPLACE FUNCTION device_max_kw(of_stream text, device text, otherwise double precision DEFAULT 1000)
RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN coalesce((SELECT max_kw FROM devices WHERE stream = of_stream AND id = device), otherwise);
END
$$;
