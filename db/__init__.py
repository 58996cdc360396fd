"""The SQL that makes the schema: a package (`fleetwatt_db`) so that an installed fleetwatt carries it."""
