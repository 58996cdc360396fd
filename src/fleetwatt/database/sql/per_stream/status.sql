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
-- The devices after one key in order of `sorted_by`, a column, up or down (`direction` 1 or -1); where it is
-- null they come last, ties go by id. All or those of a site; all, only the stale ones or only the others;
-- all or those whose latest was stored since. One is stale past `stale_after`, or by its own interval where
-- that is null. Cost: a scan of latest, and of each device of the page that is not stale the last three hours
-- with readings.
-- Rows: many.
WITH listed AS (
    SELECT
        status.*, entry.interval_seconds, status.$id COLLATE "C" AS device,
        %(direction)s::double precision * CASE %(sorted_by)s $when_a_status_order END AS key
    FROM $status AS status
    LEFT JOIN devices AS entry ON entry.stream = '$stream' AND entry.id = status.$id
    WHERE (%(site)s::text IS NULL OR site = %(site)s)
      AND (%(changed_since)s::timestamptz IS NULL OR received_at >= %(changed_since)s)
      AND (%(stale)s::boolean IS NULL OR %(stale)s = (
          age_seconds > coalesce(%(stale_after)s::double precision, stale_age(interval_seconds))
      ))
), page AS (
    SELECT *, CASE WHEN %(sorted_by)s = '$id' AND %(direction)s < 0 THEN device END AS falling
    FROM listed
    WHERE CASE
        WHEN %(after_id)s::text IS NULL THEN true
        WHEN %(sorted_by)s = '$id' AND %(direction)s < 0 THEN device < %(after_id)s
        WHEN key IS NOT DISTINCT FROM %(after_key)s::double precision THEN device > %(after_id)s
        ELSE key IS NULL OR key > %(after_key)s
    END
    ORDER BY key NULLS LAST, falling DESC, device
    LIMIT %(limit)s
)
SELECT page.*, power.*
FROM page
CROSS JOIN LATERAL ${stream}_power_now(
    page.$id, page.interval_seconds, page.time, page.age_seconds, %(max_kw)s::double precision
) AS power
ORDER BY key NULLS LAST, falling DESC, device

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
