-- What dashboards ask in SQL. The functions have their owner's rights, as fleetwatt_dashboard reads no raw
-- readings. A window has 744 hours at most: what lies before those is left out.

-- In: a window, a site (NULL: the whole fleet), and the highest power of a device that is not registered with
-- one. Out: energy in kWh by whole UTC hours, as GET /v1/analytics/fleet has it; NULL: unknown.
CREATE OR REPLACE FUNCTION dashboard_energy(
    since timestamptz, until timestamptz, of_site text DEFAULT NULL,
    otherwise_kw double precision DEFAULT 1000
)
RETURNS TABLE (
    "time" timestamptz, kwh_consumed_ac double precision, kwh_consumed_ac_mapped double precision,
    kwh_delivered_dc double precision, kwh_delivered_dc_metered double precision
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    stop CONSTANT timestamptz := time_bucket(INTERVAL '1 hour', until);
    boundaries CONSTANT timestamptz[] := ARRAY(SELECT generate_series(
        greatest(time_bucket(INTERVAL '1 hour', since), stop - INTERVAL '744 hours'), stop, INTERVAL '1 hour'
    ));
BEGIN
    IF cardinality(boundaries) > 1 THEN
        RETURN QUERY
        SELECT boundaries[number], ac_kwh, mapped_kwh, dc_kwh, metered_kwh
        FROM fleet_buckets(boundaries, of_site, otherwise_kw)
        ORDER BY number;
    END IF;
END
$$;

-- In: as for dashboard_energy(). Out: the charging sessions that touch the window, as GET
-- /v1/analytics/sessions has them, with the DC energy in kWh of each as a whole. One that lasts for over a
-- day outside of the window is cut there.
CREATE OR REPLACE FUNCTION dashboard_sessions(
    since timestamptz, until timestamptz, of_site text DEFAULT NULL,
    otherwise_kw double precision DEFAULT 1000
)
RETURNS TABLE (
    vehicle_id text, meter_id text, start timestamptz, "end" timestamptz, kwh_delivered_dc double precision
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    start_at CONSTANT timestamptz := greatest(since, until - INTERVAL '744 hours');
    low CONSTANT timestamptz := time_bucket(INTERVAL '1 hour', start_at) - INTERVAL '1 day';
    high CONSTANT timestamptz := time_bucket(INTERVAL '1 hour', until) + INTERVAL '25 hours';
BEGIN
    RETURN QUERY
    SELECT vehicle.vehicle_id, session.meter_id, session.start, session."end", energy_kwh
    FROM vehicles_latest AS vehicle
    LEFT JOIN devices AS entry ON entry.stream = 'vehicle' AND entry.id = vehicle.vehicle_id
    CROSS JOIN LATERAL vehicle_sessions(
        vehicle.vehicle_id, low, high, INTERVAL '30 minutes', otherwise_kw
    ) AS session
    CROSS JOIN LATERAL vehicle_energy(vehicle.vehicle_id, tstzrange(session.start, session."end"))
    WHERE (of_site IS NULL OR entry.site = of_site) AND session.start < until AND session."end" > start_at;
END
$$;

-- Roles are let in by name (db/roles.sql).
REVOKE ALL ON FUNCTION dashboard_energy(timestamptz, timestamptz, text, double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION dashboard_sessions(timestamptz, timestamptz, text, double precision) FROM PUBLIC;
