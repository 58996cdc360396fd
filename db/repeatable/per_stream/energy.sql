-- The energy of one device over a span, exact at both edges (the arithmetic: docs/energy.md).
-- Whole, fresh hours come from the hourly aggregate, everything else from raw through the (id, time) index.
-- Between two pieces lies one more step, from the last value of the earlier to the first of the later.
-- (TimescaleDB 2.29 can't plan `bucket <@ hours`, "unsupported datatype in const_to_integral_timeval", but the operator's function.)

-- Of an asked span that is cut already: hours from the aggregate, the rest from raw. Chunks are excluded while planning: a plan without
-- that locks every chunk there is. So this body is there twice (docs/decisions/0026). `recent` is planned once a session, for tables that
-- now() bounds: TimescaleDB takes that for a constant while it plans, as time only goes on. `older` is planned for the span at each call.
DROP FUNCTION IF EXISTS ${stream}_energy_of(text, timestamptz, timestamptz, tstzmultirange, tstzmultirange);
DO $DO$
DECLARE
    planned record;
BEGIN
    FOR planned IN
        SELECT *
        FROM (
            VALUES
                ('recent', '', $$AND h.bucket > now() - INTERVAL '2 days'$$, $$AND r.time > now() - INTERVAL '2 days'$$),
                ('older', 'SET plan_cache_mode = force_custom_plan', '', '')
        ) AS given (name, settings, of_hours, of_readings)
    LOOP
        EXECUTE format($CREATE$
CREATE OR REPLACE FUNCTION ${stream}_energy_%s(
    device text, since timestamptz, before timestamptz, hours tstzmultirange, rest tstzmultirange
)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint, avg_$mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 %s AS $$
BEGIN
    RETURN QUERY
    SELECT
        coalesce(sum(joined.readings), 0)::bigint,
        CASE WHEN sum(joined.readings) >= 2 THEN sum(joined.energy_kwh) + coalesce(sum(seam_kwh) FILTER (WHERE seam_kwh > 0), 0) END,
        coalesce(sum(joined.falls), 0)::bigint + count(*) FILTER (WHERE seam_kwh < 0),
        quotient(sum(sum_$mean), sum(joined.readings))
    FROM (
        SELECT piece.*, first_kwh - lag(last_kwh) OVER (ORDER BY first_time) AS seam_kwh
        FROM (
            SELECT h.first_time, h.first_kwh, h.last_kwh, h.readings, h.energy_kwh, h.falls, h.sum_$mean
            FROM ${stream}_materialized AS h
            WHERE NOT isempty(hours) AND h.$id = device AND h.bucket >= since AND h.bucket < before
              AND multirange_contains_elem(hours, h.bucket) %s
            UNION ALL
            SELECT reading.*
            FROM unnest(rest) AS part
            -- OFFSET keeps the planner from reading the span as a whole.
            CROSS JOIN LATERAL (
                SELECT r.time, r.$counter, r.$counter, 1::bigint, 0::double precision, 0::double precision, r.$mean
                FROM $history AS r
                WHERE r.$id = device AND r.time >= since AND r.time < before AND r.time >= lower(part) AND r.time < upper(part) %s
                OFFSET 0
            ) AS reading
        ) AS piece
    ) AS joined;
END
$$
        $CREATE$, planned.name, planned.settings, planned.of_hours, planned.of_readings);
    END LOOP;
END
$DO$;

-- At first meters had no mean. What has four figures stays: views of others may be made of it, and a service may be calling it.
DO $$
BEGIN
    IF (SELECT cardinality(proallargtypes) FROM pg_proc WHERE oid = to_regprocedure('${stream}_energy(text, tstzrange)')) < 6 THEN
        DROP FUNCTION ${stream}_energy(text, tstzrange);
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION ${stream}_energy(device text, span tstzrange)
RETURNS TABLE (readings bigint, energy_kwh double precision, falls bigint, avg_$mean double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
DECLARE
    asked CONSTANT tstzrange      := ${stream}_asked_span(device, half_open(span));
    hours CONSTANT tstzmultirange := whole_hours(asked) - stale_hours('$hourly', asked);
BEGIN
    -- Half a day less than the two that `recent` reads: a kept plan covers the window even after the clock was set back by as much.
    IF lower(asked) > now() - INTERVAL '36 hours' THEN
        RETURN QUERY
        SELECT * FROM ${stream}_energy_recent(device, lower(asked), upper(asked), hours, tstzmultirange(asked) - hours);
    ELSE
        RETURN QUERY
        SELECT * FROM ${stream}_energy_older(device, lower(asked), upper(asked), hours, tstzmultirange(asked) - hours);
    END IF;
END
$$;
COMMENT ON FUNCTION ${stream}_energy(text, tstzrange) IS
    'Energy in kWh that a $stream counted over a span (NULL below two readings), its readings, the falls of its counter, its mean $mean';
