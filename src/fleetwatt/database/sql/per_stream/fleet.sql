-- freshness --
-- How many devices, all or those of a site, report, are stale, or have been silent since a window's start.
-- The newest reading of each decides. One is stale past `stale_after`, or by its own interval where that is
-- null; one that is registered and has never reported is silent. Cost: one scan each of latest and of the
-- register.
-- Rows: one.
SELECT
    count(*) FILTER (WHERE time >= %(start)s::timestamptz AND age <= bound) AS reporting,
    count(*) FILTER (WHERE time >= %(start)s::timestamptz AND age > bound) AS stale,
    count(*) FILTER (WHERE time IS NULL OR time < %(start)s::timestamptz) AS silent
FROM (
    SELECT
        time, extract(epoch FROM now() - time)::double precision AS age,
        coalesce(%(stale_after)s::double precision, stale_age) AS bound
    FROM ${stream}_device
    WHERE %(site)s::text IS NULL OR site = %(site)s
) AS device
