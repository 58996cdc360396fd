"""The gauges that the database is asked for: devices, chunks, jobs, size.

A scrape must neither load the database nor hang with it. One thread at a time asks, at most every
few seconds. A scrape waits a moment for the answer, then takes the last one.

`_changed` guards all fields; no thread holds it while it talks to the database. A thread asks once
and ends.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetwatt.observability.metrics import GaugeValue
from fleetwatt.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetwatt.database.client import Database

log = logging.getLogger(__name__)

KEPT = 10.0  # seconds for which values are used again
PATIENCE = 2.0  # seconds that a scrape waits for new ones
FORGOTTEN = 60.0  # seconds after which old values are worse than none


class Gauges:
    """The last values of a database's gauges, and the question for new ones."""

    def __init__(self, ask: Callable[[], list[GaugeValue]]) -> None:
        self._ask = ask
        self._changed = threading.Condition()
        self._asking = False
        self._asked = self._known = float("-inf")
        self._up = False
        self._values: list[GaugeValue] = []

    def latest(self) -> list[GaugeValue]:
        """Return the values, new or of a moment ago; never raises."""
        with self._changed:
            now = time.monotonic()
            if not self._asking and now - self._asked >= KEPT:
                self._asked = now
                # Where no thread can be had, the last values are returned.
                with suppress(RuntimeError):
                    threading.Thread(target=self._refresh, name="gauges", daemon=True).start()
                    self._asking = True
            answered = self._changed.wait_for(lambda: not self._asking, PATIENCE)
            known = self._values if time.monotonic() - self._known < FORGOTTEN else []
            return [GaugeValue("fleetwatt_database_up", float(answered and self._up)), *known]

    def _refresh(self) -> None:
        values: list[GaugeValue] | None = None
        try:
            values = self._ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other metrics are shown
            log.warning("the database can't be asked for its gauges: %s", error)
        with self._changed:
            self._asking = False
            self._up = values is not None
            if values is not None:
                self._values, self._known = values, time.monotonic()
            self._changed.notify_all()


def ask(database: Database) -> list[GaugeValue]:
    """Ask a database for the values of its gauges."""
    values = []
    for stream in STREAMS:
        if devices := database.query_one(f"{stream.name}.devices"):
            values += [
                GaugeValue("fleetwatt_devices", count, (stream.name, state))
                for state, count in devices.items()
            ]
    for row in database.query("chunks"):
        values += [
            GaugeValue("fleetwatt_chunks", row[state], (row["table"], state))
            for state in ("compressed", "uncompressed")
        ]
    for row in database.query("jobs"):
        labels = (row["proc"], row["job_id"], row["table"])
        values += [
            GaugeValue(f"fleetwatt_job_{name}", row[name], labels)
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
        values.append(GaugeValue("fleetwatt_replica_lag_seconds", lag))
    if size := database.query_one("database_size"):
        values.append(GaugeValue("fleetwatt_database_bytes", size["bytes"]))
    return values
