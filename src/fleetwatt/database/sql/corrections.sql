-- corrections --
-- A page of corrections, the newest first, before an id, of all devices or of one; each with up to `most` of
-- its readings. Cost: one walk through an index, and a look-up for each row.
-- Rows: many.
SELECT
    correction.id, stream, device, action, lower(span) AS start, upper(span) AS "end", reason, author,
    made_at, undone_at, undone_by, counted.readings, coalesce(changes, '[]'::jsonb) AS changes
FROM reading_corrections AS correction
CROSS JOIN LATERAL (
    SELECT count(*) AS readings
    FROM corrected_readings AS corrected
    WHERE corrected.correction = correction.id
) AS counted
CROSS JOIN LATERAL (
    SELECT jsonb_agg(to_jsonb(first) ORDER BY time) AS changes
    FROM (
        SELECT time, before, after FROM corrected_readings AS corrected
        WHERE corrected.correction = correction.id
        ORDER BY time
        LIMIT %(most)s::bigint
    ) AS first
) AS listed
WHERE (%(id)s::bigint IS NULL OR correction.id = %(id)s)
  AND (%(before)s::bigint IS NULL OR correction.id < %(before)s)
  AND (%(stream)s::text IS NULL OR stream = %(stream)s)
  AND (%(device)s::text IS NULL OR device = %(device)s)
ORDER BY correction.id DESC
LIMIT %(limit)s::bigint

-- newest_correction --
-- The newest correction that holds of any reading that a correction is about. Cost: one index range scan over
-- a device's corrections.
-- Rows: at most one.
SELECT newest_correction(stream, device, span) AS newest FROM reading_corrections WHERE id = %(id)s::bigint
