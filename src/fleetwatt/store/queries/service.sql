-- ping --
-- That the database answers. Cost: none.
SELECT 1 AS answer
