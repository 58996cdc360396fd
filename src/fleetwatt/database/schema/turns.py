"""Upgrades of one database take turns: the lock that each of their transactions holds."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg2 import errors

from fleetwatt.database.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as DatabaseCursor

PATIENCE = "60s"  # how long an upgrade waits for another's transaction, as PostgreSQL writes it
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('fleetwatt_schema', 0))"
# Every role sees other roles' processes, names and programs.
_HOLDER = """
SELECT pid, usename, application_name
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint) = hashtextextended('fleetwatt_schema', 0)
"""


@contextmanager
def taken(connection: Connection) -> Iterator[DatabaseCursor]:
    """Open a transaction that no other upgrade runs beside.

    Any role can take the lock and keep it, so each wait for it has an end.

    Raises:
        Busy: Another session holds the lock for too long; the message says whose.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("SAVEPOINT turn")
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", (PATIENCE,))
        try:
            cursor.execute(_LOCK)
        except errors.LockNotAvailable as error:
            cursor.execute("ROLLBACK TO turn")
            raise Busy(_who_holds_it(cursor)) from error
        # What is done in the turn waits for locks as the session is set to.
        cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
        yield cursor


def _who_holds_it(cursor: DatabaseCursor) -> str:
    cursor.execute(_HOLDER)
    holder = cursor.fetchone()
    if not holder:
        return "another upgrade was at work: run this again"
    pid, role, program = holder
    return (
        f"process {pid} of the role {role} ({program or 'a program without a name'}) holds the "
        f"lock by which upgrades take turns, for over {PATIENCE}: wait for it, or end it with "
        f"SELECT pg_terminate_backend({pid}), and run this again"
    )
