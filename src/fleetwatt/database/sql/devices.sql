-- put_devices --
-- Makes or replaces entries of the device register, given column by column, each device once, and returns
-- them; `created` says which are new. An unknown site fails. Cost: one look-up by primary key an entry.
-- Rows: many. Run once: a second run says that none is new.
INSERT INTO devices AS entry (stream, id, name, site, interval_seconds, max_kw)
SELECT given.* FROM unnest(
    %(streams)s::text[], %(ids)s::text[], %(names)s::text[], %(sites)s::text[],
    %(intervals)s::double precision[], %(max_kws)s::double precision[]
) AS given (stream, id, name, site, interval_seconds, max_kw)
-- In one order always, so that two of these wait for each other instead of dying of a deadlock.
ORDER BY stream COLLATE "C", id COLLATE "C"
ON CONFLICT (stream, id) DO UPDATE
SET (name, site, interval_seconds, max_kw) = (
    excluded.name, excluded.site, excluded.interval_seconds, excluded.max_kw
)
-- Only a row that was there before has been locked, by this very update.
RETURNING stream, id, name, site, interval_seconds, max_kw, xmax = 0 AS created

-- device --
-- A device's entry in the register. Cost: one look-up by primary key.
-- Rows: at most one.
SELECT stream, id, name, site, interval_seconds, max_kw FROM devices WHERE stream = %(stream)s AND id = %(id)s

-- devices_page --
-- The entries of a stream, all, those of a site or one, after one id, in order. Cost: one index range scan.
-- Rows: many.
SELECT stream, id, name, site, interval_seconds, max_kw FROM devices
WHERE stream = %(stream)s
  AND (%(site)s::text IS NULL OR site = %(site)s)
  AND (%(id)s::text IS NULL OR id = %(id)s)
  AND (%(after)s::text IS NULL OR id > %(after)s)
ORDER BY id
LIMIT %(limit)s::bigint

-- remove_device --
-- Removes an entry from the register and returns it; the device's readings stay. Cost: one look-up by primary
-- key.
-- Rows: at most one. Run once: a second run finds nothing to remove.
DELETE FROM devices WHERE stream = %(stream)s AND id = %(id)s
RETURNING stream, id, name, site, interval_seconds, max_kw

-- put_sites --
-- Makes or replaces sites, given column by column, each once, and returns them; `created` says which are new.
-- Cost: one look-up by primary key a site.
-- Rows: many. Run once: a second run says that none is new.
INSERT INTO sites AS entry (id, name, time_zone)
SELECT given.*
FROM unnest(%(ids)s::text[], %(names)s::text[], %(time_zones)s::text[]) AS given (id, name, time_zone)
ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET (name, time_zone) = (excluded.name, excluded.time_zone)
RETURNING id, name, time_zone, xmax = 0 AS created

-- site --
-- A site. Cost: one look-up by primary key.
-- Rows: at most one.
SELECT id, name, time_zone FROM sites WHERE id = %(id)s

-- sites_page --
-- The sites after one id, in order. Cost: one index range scan.
-- Rows: many.
SELECT id, name, time_zone FROM sites
WHERE %(after)s::text IS NULL OR id > %(after)s
ORDER BY id
LIMIT %(limit)s::bigint

-- remove_site --
-- Removes a site and returns it; where a device is registered there it fails. Cost: two look-ups.
-- Rows: at most one. Run once: a second run finds nothing to remove.
DELETE FROM sites WHERE id = %(id)s RETURNING id, name, time_zone
