"""What is well and what is not with a database: each finding says what to do about it.

It looks at one that fleetwatt would not serve on, too.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetwatt.database import queries
from fleetwatt.database.errors import translated
from fleetwatt.database.pool import Row, connect, fetch
from fleetwatt.database.schema import migrations
from fleetwatt.lifecycle import data_checks, server_checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.config import Config
    from fleetwatt.lifecycle.findings import Finding

_KEPT = 10.0  # seconds for which a service's findings are used again


class Doctor:
    """Examines the database of a service, for all of its threads.

    An examination opens connections of its own, past those of the pool. `_lock` guards the newest
    findings and is held while they are made: so there is one examination at a time, and who waits
    for it shares them.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._made = -_KEPT
        self._newest: tuple[datetime, list[Finding]] = (datetime.min.replace(tzinfo=UTC), [])

    def findings(self) -> tuple[datetime, list[Finding]]:
        """Return findings that are a few seconds old at most, and when they were made.

        Raises:
            Unavailable: There is no database to look at.
        """
        with self._lock:
            if time.monotonic() - self._made >= _KEPT:
                self._newest = datetime.now(UTC), list(examine(self._config))
                self._made = time.monotonic()
            return self._newest


def examine(config: Config) -> Iterator[Finding]:
    """Look at a database, and yield at least one finding for each check.

    Raises:
        Unavailable: There is no database to look at.
    """
    statements = queries.load()
    with translated(), closing(connect(config)) as connection:

        def ask(query: str) -> list[Row]:
            return fetch(connection, statements[query])

        server = next(iter(ask("doctor_server")), None)
        yield from server_checks.of_server(server)
        if server is None or server["timescaledb"] is None:
            return
        yield from server_checks.of_scheduler(server)
        if server["has_scheduler"]:
            yield from server_checks.of_settings(
                {row["name"]: row for row in ask("doctor_settings")}, server
            )
            with closing(connect(config, timezone=None)) as plain:
                (row,) = fetch(plain, "SELECT current_setting('TimeZone') AS timezone")
            yield server_checks.of_timezone(row["timezone"])
            (archiver,) = ask("doctor_archiver")
            may_list = archiver["archives"] and archiver["may_list"]
            ended = ask("doctor_base_backup")[0]["ended"] if may_list else None
            yield server_checks.of_backups(archiver, ended)
        drift = migrations.drift(connection)
        yield from data_checks.of_schema(drift)
        if not drift.missing:
            yield from data_checks.of_data(ask, is_apache=server["edition"] == "apache")
