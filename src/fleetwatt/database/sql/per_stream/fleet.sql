-- freshness --
-- How many devices report, are stale, or have been silent since a window's start, by the newest reading of each.
-- Cost: one scan of latest.
SELECT
    count(*) FILTER (WHERE time > %(start)s::timestamptz AND age <= %(stale_after)s) AS reporting,
    count(*) FILTER (WHERE time > %(start)s::timestamptz AND age > %(stale_after)s) AS stale,
    count(*) FILTER (WHERE time <= %(start)s::timestamptz) AS silent
FROM (SELECT time, extract(epoch FROM now() - time)::double precision AS age FROM $latest) AS newest
