"""What an acknowledgement is worth, whatever a database is set to."""

from __future__ import annotations

from contextlib import closing

import pytest
from psycopg2 import sql as composed
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database.client import Database
from tests.conftest import rows


@pytest.mark.parametrize(
    ("set_to", "kept_at"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")]
)
def test_a_session_that_writes_waits_for_the_disk_whatever_the_database_is_set_to(
    config: Config, sql: Connection, set_to: str, kept_at: str
) -> None:
    with sql.cursor() as cursor:
        # Of the session, which all connections share on the embedded database; of all new ones.
        change = composed.SQL("ALTER DATABASE postgres SET synchronous_commit = {0}")
        cursor.execute(change.format(composed.Literal(set_to)))
        cursor.execute("SET synchronous_commit = %s", (set_to,))
        try:
            with closing(Database(config)) as database, database._pool.connection() as writing:
                assert rows(writing, "SHOW synchronous_commit") == [(kept_at,)]
        finally:
            cursor.execute("ALTER DATABASE postgres RESET synchronous_commit")
            cursor.execute("RESET synchronous_commit")
