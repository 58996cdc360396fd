"""The errors of fleetwatt's database.

DatabaseError
├── Unavailable         the database can't be reached, or went away
│   ├── SchemaBehind    its schema is older than this program
│   └── NotReplicated   a change is on the primary, and maybe on no standby
├── Busy                a statement ran too long
│   ├── Unanswered      its server stands still, or its host is gone
│   ├── PoolExhausted   no connection came free in time
│   └── Abandoned       the client is gone that asked
├── UnsupportedServer   no TimescaleDB there, or one that is too old
├── MigrationChanged    a migration's file isn't what was applied
├── EditionChanged      the schema was made for another edition
├── ReferenceBroken     a row refers to one that is not there, or would be gone
├── NotAllowed          the database's role may not do that
├── PolicyRejected      a change of retention or compression would break a rule
├── NotInEdition        this edition of TimescaleDB can't do that
└── StatementFailed     a statement failed for a reason of its own
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import errors

UPGRADE = "run `fleetwatt db upgrade`"


class DatabaseError(Exception):
    """The database could not do what was asked."""


class Unavailable(DatabaseError):
    """The database can't be reached."""


class SchemaBehind(Unavailable):
    """The database's schema is older than this program."""


class NotReplicated(Unavailable):
    """The change may be on no standby yet, so that a failover would lose it."""


class Busy(DatabaseError):
    """The database is busy."""


class Unanswered(Busy):
    """The database did not answer."""


class PoolExhausted(Busy):
    """All connections of this process are taken."""


class Abandoned(Busy):
    """The client is gone that asked."""


class UnsupportedServer(DatabaseError):
    """fleetwatt does not run on this server."""


class ReferenceBroken(DatabaseError):
    """A row would refer to one that is not there."""


class NotAllowed(DatabaseError):
    """The role of FLEETWATT_DATABASE_URL may not do that."""


class PolicyRejected(DatabaseError):
    """A change would break a rule of the policies; the message names it and the nearest legal."""


class NotInEdition(DatabaseError):
    """This edition of TimescaleDB can't do that."""


class StatementFailed(DatabaseError):
    """A statement failed for a reason of its own: a fault of ours, or of what it was given."""


class MigrationChanged(DatabaseError):
    """A migration that was applied has been edited since."""


class EditionChanged(DatabaseError):
    """The schema was made for another edition, and can't follow."""


# The first that fits counts: subclasses of psycopg2's errors stand before their bases.
_TRANSLATED: tuple[tuple[type[Exception], type[DatabaseError]], ...] = (
    (errors.QueryCanceled, Busy),
    (errors.LockNotAvailable, Busy),
    (errors.TooManyConnections, Busy),
    (errors.InsufficientPrivilege, NotAllowed),
    (errors.ForeignKeyViolation, ReferenceBroken),
    # A function that a release has changed: only missing files are looked for at the start.
    (errors.UndefinedFunction, SchemaBehind),
    (errors.UndefinedColumn, SchemaBehind),
    # A database that is being restored.
    (errors.UndefinedTable, SchemaBehind),
    # The former primary is a standby now, or an administrator forbade writing.
    (errors.ReadOnlySqlTransaction, Unavailable),
    (psycopg2.OperationalError, Unavailable),
    (psycopg2.InterfaceError, Unavailable),
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg2's errors into ours, chained.

    Raises:
        DatabaseError: The work raised an error of psycopg2's.
    """
    try:
        yield
    except psycopg2.Error as error:
        for foreign, ours in _TRANSLATED:
            if isinstance(error, foreign):
                # What follows the message quotes the statement: clients would see our SQL.
                message = in_a_line(error.diag.message_primary or str(error))
                raise ours(f"{message}: {UPGRADE}" if ours is SchemaBehind else message) from error
        # To mend it, one needs the statement, too; no client sees this message.
        raise StatementFailed(in_a_line(str(error))) from error


def in_a_line(message: str) -> str:
    """Join the lines of a server's message."""
    return " ".join(message.split())


def is_lost(error: psycopg2.Error) -> bool:
    """Whether it is the connection's fault, so that the same work may succeed on another one."""
    if isinstance(error, errors.ReadOnlySqlTransaction):
        # The session's server is the primary no more, and has changed nothing.
        return True
    if not isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return False
    # Class 57P: the server shut down, crashed or ended this session. No code: no answer came.
    return error.pgcode is None or error.pgcode.startswith("57P")
