-- sessions --
-- The sessions of vehicles that touch a window, of all, of a site or of those that are named, the oldest
-- first.
-- Cost: a scan of raw over the span for each vehicle.
-- Rows: many.
SELECT vehicle.vehicle_id, session.*
FROM vehicles_latest AS vehicle
LEFT JOIN devices AS entry ON entry.stream = 'vehicle' AND entry.id = vehicle.vehicle_id
CROSS JOIN LATERAL vehicle_sessions(
    vehicle.vehicle_id, %(low)s::timestamptz, %(high)s::timestamptz, %(pause)s::interval,
    %(max_kw)s::double precision
) AS session
WHERE (%(vehicles)s::text[] IS NULL OR vehicle.vehicle_id = ANY (%(vehicles)s))
  AND (%(site)s::text IS NULL OR entry.site = %(site)s)
  AND session.start < %(end)s::timestamptz AND session."end" > %(start)s::timestamptz
ORDER BY session.start, vehicle.vehicle_id, session."end"

-- session_steps --
-- The steps of a vehicle's curve in a span, and what it rises by over each, in order.
-- Cost: one index range scan of raw.
-- Rows: many.
SELECT
    origin + earlier * INTERVAL '1 microsecond' AS start, origin + first * INTERVAL '1 microsecond' AS "end",
    first_rise AS kwh
FROM (SELECT time_bucket(INTERVAL '1 hour', %(start)s::timestamptz) AS origin) AS asked
CROSS JOIN LATERAL vehicle_scanned(
    %(vehicle_id)s, origin, origin, %(end)s::timestamptz + INTERVAL '1 microsecond',
    device_max_kw('vehicle', %(vehicle_id)s, %(max_kw)s), NULL, 7
)
WHERE outcome <> 'ignored' AND earlier < micros(origin, %(end)s::timestamptz)
  AND first > micros(origin, %(start)s::timestamptz)
ORDER BY first

-- session_soc --
-- The first and the last known state of charge that a vehicle sent in a span, both ends included.
-- Cost: two index look-ups.
-- Rows: one.
SELECT
    (
        SELECT soc FROM vehicle_telemetry
        WHERE vehicle_id = %(vehicle_id)s AND soc IS NOT NULL
          AND time >= %(start)s::timestamptz AND time <= %(end)s::timestamptz
        ORDER BY time
        LIMIT 1
    ) AS first_soc,
    (
        SELECT soc FROM vehicle_telemetry
        WHERE vehicle_id = %(vehicle_id)s AND soc IS NOT NULL
          AND time >= %(start)s::timestamptz AND time <= %(end)s::timestamptz
        ORDER BY time DESC
        LIMIT 1
    ) AS last_soc
