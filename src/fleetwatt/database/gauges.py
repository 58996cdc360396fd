"""What the database says of itself, for whoever watches: devices, chunks, jobs, size.

Asking must neither cost much nor hang with the database: it is asked by one thread at a time, at
most every few seconds, and whoever wants the figures waits a moment for them, then takes the last.

`_changed` guards all fields; nobody holds it while talking to the database. The thread lives for
one question and ends by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetwatt.observability.metrics import Figure
from fleetwatt.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetwatt.database.client import Database

log = logging.getLogger(__name__)

KEPT = 10.0  # seconds for which figures are used again
PATIENCE = 2.0  # seconds that somebody waits for new ones
FORGOTTEN = 60.0  # seconds after which old figures are worse than none


class Figures:
    """The last figures of a database, and the question for new ones."""

    def __init__(self, ask: Callable[[], list[Figure]]) -> None:
        self._ask = ask
        self._changed = threading.Condition()
        self._asking = False
        self._asked = self._known = float("-inf")
        self._up = False
        self._figures: list[Figure] = []

    def latest(self) -> list[Figure]:
        """Return the figures, new or of a moment ago; never raises."""
        with self._changed:
            now = time.monotonic()
            if not self._asking and now - self._asked >= KEPT:
                self._asked = now
                # Where no thread can be had, the last figures are told.
                with suppress(RuntimeError):
                    threading.Thread(target=self._refresh, name="figures", daemon=True).start()
                    self._asking = True
            answered = self._changed.wait_for(lambda: not self._asking, PATIENCE)
            known = self._figures if time.monotonic() - self._known < FORGOTTEN else []
            return [Figure("fleetwatt_database_up", float(answered and self._up)), *known]

    def _refresh(self) -> None:
        figures: list[Figure] | None = None
        try:
            figures = self._ask()
        except Exception as error:  # noqa: BLE001 - whatever the matter is, the rest can be told
            log.warning("the database can't be asked for its figures: %s", error)
        with self._changed:
            self._asking = False
            self._up = figures is not None
            if figures is not None:
                self._figures, self._known = figures, time.monotonic()
            self._changed.notify_all()


def ask(database: Database) -> list[Figure]:
    """Ask a database for its figures."""
    figures = []
    for stream in STREAMS:
        if devices := database.query_one(f"{stream.name}.devices"):
            figures += [
                Figure("fleetwatt_devices", count, (stream.name, state))
                for state, count in devices.items()
            ]
    for row in database.query("chunks"):
        figures += [
            Figure("fleetwatt_chunks", row[state], (row["table"], state))
            for state in ("compressed", "uncompressed")
        ]
    for row in database.query("jobs"):
        labels = (row["proc"], row["job_id"], row["table"])
        figures += [
            Figure(f"fleetwatt_job_{name}", row[name], labels)
            for name in (
                "failing",
                "failures",
                "next_start_timestamp_seconds",
                "last_success_timestamp_seconds",
            )
            if row[name] is not None
        ]
    lag = database.replica_lag()
    if lag is not None:
        figures.append(Figure("fleetwatt_replica_lag_seconds", lag))
    if size := database.query_one("database_size"):
        figures.append(Figure("fleetwatt_database_bytes", size["bytes"]))
    return figures
