-- status --
-- The newest reading of one device, its age and its power. Cost: one primary-key look-up (and one of the
-- mapping), and a scan of its last three hours with readings; plans are kept by the session.
-- Rows: at most one.
SELECT status.*, power.*
FROM ${stream}_status_of(%(id)s) AS status
LEFT JOIN devices AS entry ON entry.stream = '$stream' AND entry.id = status.$id
CROSS JOIN LATERAL ${stream}_power_now(
    status.$id, entry.interval_seconds, status.time, status.age_seconds, %(max_kw)s::double precision
) AS power

-- status_page --
-- The devices after one id, in order: all or those of a site; all, only the stale ones or only the others.
-- One is stale past `stale_after`, or by its own interval where that is null. Cost: one index range scan, a
-- look-up a device, and a scan of the last three hours with readings of each that is not stale.
-- Rows: many.
SELECT page.*, power.*
FROM (
    SELECT status.*, entry.interval_seconds
    FROM $status AS status
    LEFT JOIN devices AS entry ON entry.stream = '$stream' AND entry.id = status.$id
    WHERE (%(after)s::text IS NULL OR status.$id > %(after)s)
      AND (%(site)s::text IS NULL OR site = %(site)s)
      AND (%(stale)s::boolean IS NULL OR %(stale)s = (
          age_seconds > coalesce(%(stale_after)s::double precision, stale_age(interval_seconds))
      ))
    ORDER BY status.$id
    LIMIT %(limit)s
) AS page
CROSS JOIN LATERAL ${stream}_power_now(
    page.$id, page.interval_seconds, page.time, page.age_seconds, %(max_kw)s::double precision
) AS power
ORDER BY page.$id

-- known_device --
-- The interval in s of a device that is registered or has reported. Cost: two primary-key look-ups.
-- Rows: at most one.
SELECT device_interval('$stream', %(id)s) AS interval_seconds
WHERE EXISTS (SELECT FROM $latest WHERE $id = %(id)s)
   OR EXISTS (SELECT FROM devices WHERE stream = '$stream' AND id = %(id)s)

-- unknown_devices --
-- Those of some devices that are neither registered nor have reported. Cost: two primary-key look-ups a
-- device.
-- Rows: many.
SELECT DISTINCT id
FROM unnest(%(ids)s::text[]) AS given (id)
WHERE NOT EXISTS (SELECT FROM $latest WHERE $latest.$id = given.id)
  AND NOT EXISTS (SELECT FROM devices WHERE stream = '$stream' AND devices.id = given.id)
ORDER BY id
