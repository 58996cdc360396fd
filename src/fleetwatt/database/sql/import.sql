-- database_identity --
-- What tells this database from every other, also from one restored from its dump. Cost: none.
SELECT concat_ws('/', system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database())) AS identity
FROM pg_control_system()
