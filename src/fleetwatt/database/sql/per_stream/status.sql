-- status --
-- The newest reading of one device and its age. Cost: one primary-key look-up (and one of the mapping); its
-- plan is kept by the session.
-- Rows: at most one.
SELECT * FROM ${stream}_status_of(%(id)s)

-- status_page --
-- The devices after one id, in order, all or only the stale ones. Cost: one index range scan.
-- Rows: many.
SELECT * FROM $status
WHERE (%(after)s::text IS NULL OR $id > %(after)s)
  AND (%(stale_after)s::double precision IS NULL OR age_seconds > %(stale_after)s)
ORDER BY $id
LIMIT %(limit)s
