-- devices --
-- How many devices have a newest reading of the last 5 minutes, and how many an older one. Cost: one scan of
-- latest; asked every few seconds.
-- Rows: one.
SELECT
    count(*) FILTER (WHERE time >= now() - INTERVAL '5 minutes') AS reporting,
    count(*) FILTER (WHERE time < now() - INTERVAL '5 minutes') AS silent
FROM $latest
