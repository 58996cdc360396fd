-- Every device of the stream that is registered or has reported, once: its entry, its interval in s (60
-- unless registered) and whether it has reported. `max_kw` is NULL where the default holds. Cost: one scan
-- each of latest and of the register.
CREATE OR REPLACE VIEW ${stream}_device AS
SELECT
    coalesce(latest.$id, entry.id) AS $id, entry.name, entry.site,
    coalesce(entry.interval_seconds, 60) AS interval_seconds, entry.max_kw, latest.$id IS NOT NULL AS reported
FROM $latest AS latest
FULL JOIN (SELECT * FROM devices WHERE stream = '$stream') AS entry ON entry.id = latest.$id;
