"""The schema's SQL: a package, `fleetwatt_db`, so that an installed fleetwatt carries it."""
