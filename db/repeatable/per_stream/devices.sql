-- Every device of the stream that is registered or has reported, once. A row has its entry with its interval
-- in effect, whether it has reported, and the time of its newest reading. `stale_age` is in s.
-- `max_kw` is NULL where the default holds. Cost: one scan each of latest and of the register.
CREATE OR REPLACE VIEW ${stream}_device AS
SELECT
    coalesce(latest.$id, entry.id) AS $id, entry.name, entry.site,
    effective_interval(entry.interval_seconds) AS interval_seconds, entry.max_kw,
    latest.$id IS NOT NULL AS reported, latest.time, stale_age(entry.interval_seconds) AS stale_age
FROM $latest AS latest
FULL JOIN (SELECT * FROM devices WHERE stream = '$stream') AS entry ON entry.id = latest.$id;
