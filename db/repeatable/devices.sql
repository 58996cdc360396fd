-- The time between two readings of a device, in s: as registered, or 60, the default.
CREATE OR REPLACE FUNCTION device_interval(of_stream text, device text) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT interval_seconds FROM devices WHERE stream = of_stream AND id = device), 60);

-- The highest power of a device, in kW: as registered, or `otherwise`, which the service gives from
-- FLEETWATT_MAX_KW.
CREATE OR REPLACE FUNCTION device_max_kw(of_stream text, device text, otherwise double precision DEFAULT 1000)
RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT max_kw FROM devices WHERE stream = of_stream AND id = device), otherwise);
