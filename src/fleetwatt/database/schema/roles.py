"""The roles of db/roles.sql: who owns the schema, who serves, who only looks."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from fleetwatt.database.pool import fetch
from fleetwatt.database.schema import turns

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def apply(connection: Connection) -> None:
    """Create the roles where they are missing, hand the schema to its owner and grant the rest."""
    script = files("fleetwatt_db").joinpath("roles.sql").read_text(encoding="utf-8")
    with turns.taken(connection) as cursor:
        cursor.execute(script)


def set_password(connection: Connection, role: str, password: str) -> None:
    """Let a role log in by a password, of which the server gets and logs the hash alone."""
    hashed = encrypt_password(password, role, scope=connection, algorithm="scram-sha-256")
    with connection, connection.cursor() as cursor:
        statement = sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(role))
        cursor.execute(statement, (hashed,))


def exist(connection: Connection) -> bool:
    """Return whether the roles have been created."""
    return bool(fetch(connection, "SELECT FROM pg_roles WHERE rolname = 'fleetwatt_owner'"))
