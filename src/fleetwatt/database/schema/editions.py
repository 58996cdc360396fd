"""TimescaleDB's editions: which one a server is, and what fleetwatt does differently on each.

| | timescale (Community) | apache |
|---|---|---|
| `*_hourly` | real-time continuous aggregates | plain views over the same SELECT |
| policies | TimescaleDB's scheduler runs them | none; `fleetwatt maintain` drops |
| a refresh | materializes hours again | is not needed |
| columnstore | there | none |

The differences are SQL, in the folders of an edition's name below db/migrations and db/repeatable;
what may not run in a function is here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg2 import sql

from fleetwatt.database.errors import UnsupportedServer
from fleetwatt.database.pool import fetch
from fleetwatt.streams import STREAMS

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from fleetwatt.streams import Stream

OLDEST = (2, 19)
OLDEST_POSTGRESQL = 15  # the oldest that fleetwatt was tried on
EDITIONS = frozenset({"timescale", "apache"})


def ensure_timescaledb(connection: Connection) -> str:
    """Create the extension where it is missing and return the edition's name.

    Raises:
        UnsupportedServer: The server has no TimescaleDB, or one older than 2.19, or its PostgreSQL
            is older than 15, or the database's encoding is not UTF8.
    """
    if _checked(connection) is None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION timescaledb")
    return edition(connection)


def offered_edition(connection: Connection) -> str:
    """Return the edition's name of a server, and change nothing.

    Raises:
        UnsupportedServer: As `ensure_timescaledb` would; or TimescaleDB is not loaded.
    """
    _checked(connection)
    setting = "SELECT current_setting('timescaledb.license', true) AS edition"
    name: str | None = fetch(connection, setting)[0]["edition"]
    if name is None:
        raise UnsupportedServer(
            "this server does not load TimescaleDB: add it to shared_preload_libraries"
        )
    return name


def _checked(connection: Connection) -> str | None:
    """Return the installed version of TimescaleDB; None: it is to be created.

    Raises:
        UnsupportedServer: As `ensure_timescaledb` says.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise UnsupportedServer(
            f"this database's encoding is {encoding}; fleetwatt needs UTF8: make one by "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if connection.server_version < OLDEST_POSTGRESQL * 10_000:
        raise UnsupportedServer(
            f"this server is PostgreSQL {connection.server_version // 10_000}; "
            f"fleetwatt needs {OLDEST_POSTGRESQL} or later"
        )
    offered = fetch(
        connection,
        """
        SELECT coalesce(installed_version, default_version) AS version, installed_version
        FROM pg_available_extensions WHERE name = 'timescaledb'
        """,
    )
    if not offered:
        raise UnsupportedServer(
            "this server has no TimescaleDB; fleetwatt needs 2.19 or later "
            "(https://docs.tigerdata.com/self-hosted/latest/install/)"
        )
    version = offered[0]["version"]
    if is_too_old(version):
        raise UnsupportedServer(
            f"this server's TimescaleDB is {version}; fleetwatt needs 2.19 or later"
        )
    installed: str | None = offered[0]["installed_version"]
    return installed


def is_too_old(version: str) -> bool:
    """Whether a version of TimescaleDB, as 2.19.3 or 2.23.0-dev, is older than fleetwatt needs."""
    return tuple(int(part) for part in version.split("-", maxsplit=1)[0].split(".")[:2]) < OLDEST


def edition(connection: Connection) -> str:
    """Return the edition's name of a database that has TimescaleDB."""
    setting = "SELECT current_setting('timescaledb.license') AS edition"
    name: str = fetch(connection, setting)[0]["edition"]
    return name


def refresh(
    connection: Connection, aggregate: str, start: datetime, end: datetime, *, force: bool
) -> bool:
    """Materialize an aggregate's whole rows of [start, end); by force also what isn't stale.

    Returns:
        Whether there is anything to materialize in this edition.
    """
    if edition(connection) == "apache":
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "CALL refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz, force => %s)",
            (aggregate, start, end, force),
        )
    return True


def settle(connection: Connection, stream: Stream, older_than: timedelta) -> None:
    """Materialize what the aggregates lack of the chunks of history that are wholly older."""
    if edition(connection) == "apache":
        return
    with connection.cursor() as cursor:
        cursor.execute("CALL settle(%s, now() - %s)", (stream.history, older_than))


def run_job(connection: Connection, job: int) -> None:
    """Run a job in this session: a literal id is what the embedded database asks for."""
    with connection.cursor() as cursor:
        cursor.execute("CALL run_job(%s)", (job,))


def tidy(connection: Connection) -> None:
    """Vacuum and analyze what is updated in place, and write a checkpoint."""
    with connection.cursor() as cursor:
        for table in (*(stream.latest for stream in STREAMS), "vehicle_meter_mapping", "devices"):
            cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
        cursor.execute("CHECKPOINT")
