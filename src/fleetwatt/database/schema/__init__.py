"""The schema: its migrations, its editions, its roles."""
