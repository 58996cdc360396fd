-- database_identity --
-- What distinguishes this database from every other, also from one restored from its dump. Cost: none.
-- Rows: one.
SELECT concat_ws('/', system_identifier, oid) AS identity
FROM pg_control_system()
CROSS JOIN pg_database
WHERE datname = current_database()
