"""The routes, one module a blueprint."""
