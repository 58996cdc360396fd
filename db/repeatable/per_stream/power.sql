-- In: a device, the time of its newest reading. Out: its mean power in kW over at least the last 5 minutes up
-- to then, by its curve; NULL: it has no reading so long before.
CREATE OR REPLACE FUNCTION ${stream}_power(device text, newest timestamptz, otherwise_kw double precision)
RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
SET timescaledb.enable_chunk_append = on AS $$
DECLARE
    since CONSTANT timestamptz := (
        SELECT time FROM $history
        WHERE $id = device AND time <= newest - INTERVAL '5 minutes'
        ORDER BY time DESC
        LIMIT 1
    );
    origin CONSTANT timestamptz := time_bucket(INTERVAL '1 hour', since);
BEGIN
    RETURN (
        SELECT sum(risen(first_rise, earlier, first, micros(origin, since), micros(origin, newest)))
        FROM ${stream}_scanned(
            device, origin, origin, newest + INTERVAL '1 microsecond',
            device_max_kw('$stream', device, otherwise_kw), NULL, 0
        )
        WHERE outcome <> 'ignored'
    ) * 3.6e9 / micros(since, newest);
END
$$;

-- In: a device, its interval as registered or NULL, the time and the age in s of its newest reading. Out: its
-- power now and whether it charges; both NULL where it is stale.
CREATE OR REPLACE FUNCTION ${stream}_power_now(
    device text, registered double precision, newest timestamptz, age double precision,
    otherwise_kw double precision, OUT power_kw double precision, OUT charging boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF age <= stale_age(registered) THEN
        power_kw := rounded(${stream}_power(device, newest, otherwise_kw));
        charging := power_kw >= 0.1;
    END IF;
END
$$;
