"""All that knows psycopg2."""
