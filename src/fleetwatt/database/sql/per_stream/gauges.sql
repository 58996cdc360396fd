-- devices --
-- How many devices report, each by its own interval, and how many do not, those that are registered and never
-- did among them. Cost: one scan each of latest and of the register; asked every few seconds.
-- Rows: one.
SELECT count(*) FILTER (WHERE fresh) AS reporting, count(*) FILTER (WHERE NOT fresh) AS silent
FROM (
    SELECT coalesce(time >= now() - stale_age * INTERVAL '1 second', false) AS fresh FROM ${stream}_device
) AS device
