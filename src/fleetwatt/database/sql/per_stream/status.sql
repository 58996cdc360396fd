-- status --
-- The newest reading of one device and its age. Cost: one primary-key look-up (and one of the mapping); its
-- plan is kept by the session.
-- Rows: at most one.
SELECT * FROM ${stream}_status_of(%(id)s)

-- status_page --
-- The devices after one id, in order: all or those of a site; all, only the stale ones or only the others.
-- One is stale past `stale_after`, or by its own interval where that is null. Cost: one index range scan, and
-- a look-up a device.
-- Rows: many.
SELECT status.*
FROM $status AS status
LEFT JOIN devices AS entry ON entry.stream = '$stream' AND entry.id = status.$id
WHERE (%(after)s::text IS NULL OR status.$id > %(after)s)
  AND (%(site)s::text IS NULL OR site = %(site)s)
  AND (%(stale)s::boolean IS NULL OR %(stale)s = (
      age_seconds > coalesce(%(stale_after)s::double precision, stale_age(interval_seconds))
  ))
ORDER BY status.$id
LIMIT %(limit)s

-- known_device --
-- The interval in s of a device that is registered or has reported. Cost: two primary-key look-ups.
-- Rows: at most one.
SELECT device_interval('$stream', %(id)s) AS interval_seconds
WHERE EXISTS (SELECT FROM $latest WHERE $id = %(id)s)
   OR EXISTS (SELECT FROM devices WHERE stream = '$stream' AND id = %(id)s)
