"""Corrections of stored readings, for the routes and the command line.

Every correction keeps who made it, when and why, and what was there before (decision 30).

CorrectionRefused
├── RawDropped          raw readings of that time have been dropped
├── AlreadyUndone       the correction does not hold any more
└── Superseded          a later correction of the same readings has to be undone first
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

MOST_CHANGES = 100  # readings that a correction lists


class CorrectionRefused(Exception):
    """The correction can't be made."""


class RawDropped(CorrectionRefused):
    """Raw readings of that time have been dropped."""


class AlreadyUndone(CorrectionRefused):
    """The correction was undone before."""


class Superseded(CorrectionRefused):
    """A later correction of the same readings has to be undone first."""


@dataclass(frozen=True)
class Signature:
    """Why a correction is made, and who makes it."""

    reason: str
    author: str


@dataclass(frozen=True)
class DeviceHistory:
    """The stored readings of a device, which may be corrected.

    Each method raises `RawDropped` where raw readings of that time have been dropped.
    """

    database: Database
    stream: Stream
    device: str

    def replace(
        self, time: datetime, measures: Mapping[str, float | None], signature: Signature
    ) -> Row | None:
        """Replace the measures of a stored reading.

        Args:
            time: When the reading was taken.
            measures: The new values by their JSON names; None: unknown.
            signature: Why, and who does it.

        Returns:
            The correction; None: no such reading is stored.
        """
        _check_raw(self.database, self.stream, time)
        columns = {field.column: measures.get(field.name) for field in self.stream.measures}
        made = self.database.execute_once(
            f"{self.stream.name}.replace_reading",
            device=self.device,
            time=time,
            measures=msgspec.json.encode(columns).decode(),
            **asdict(signature),
        )
        return find(self.database, made["correction"]) if made and made["correction"] else None

    def remove(self, start: datetime, end: datetime, signature: Signature) -> int:
        """Remove the readings of a span, start <= time < end, and keep them out.

        Returns:
            How many there were.
        """
        _check_raw(self.database, self.stream, start)
        removed = self.database.execute_once(
            f"{self.stream.name}.remove_readings",
            device=self.device,
            start=start,
            end=end,
            **asdict(signature),
        )
        return int(removed["removed"]) if removed else 0

    def count(self, start: datetime, end: datetime) -> int:
        """Return how many readings `remove` would remove."""
        _check_raw(self.database, self.stream, start)
        counted = self.database.query_one(
            f"{self.stream.name}.count_readings", device=self.device, start=start, end=end
        )
        return int(counted["readings"]) if counted else 0


def undo(database: Database, correction: int, *, author: str) -> Row | None:
    """Take a correction back.

    Returns:
        The correction, undone; None: there is none with that id.

    Raises:
        AlreadyUndone: It was undone before.
        Superseded: A later correction of the same readings holds.
        RawDropped: Raw readings of that time have been dropped.
    """
    found = find(database, correction)
    if found is None:
        return None
    stream = _stream_of(found)
    if found["undone_at"]:
        raise AlreadyUndone(f"Correction {correction} was undone at {rfc3339(found['undone_at'])}.")
    later = database.query_one("newest_correction", id=correction)
    if later and later["newest"] != correction:
        raise Superseded(
            f"Correction {later['newest']} changed some of the same readings later: undo it first."
        )
    _check_raw(database, stream, found["start"])
    database.execute_once(f"{stream.name}.undo_correction", correction=correction, author=author)
    return find(database, correction)


def find(database: Database, correction: int) -> Row | None:
    """Return a correction by its id, or None."""
    rows = _page(database, id=correction, limit=1)
    return rows[0] if rows else None


def newest(
    database: Database,
    limit: int,
    before: int | None = None,
    device: tuple[Stream, str] | None = None,
) -> list[Row]:
    """Return corrections, the newest first.

    Args:
        database: Where they are.
        limit: How many at most.
        before: Only those with an id below this one.
        device: Only those of this device.
    """
    stream, device_id = device or (None, None)
    return _page(
        database, before=before, stream=stream and stream.name, device=device_id, limit=limit
    )


def _page(database: Database, **asked: Any) -> list[Row]:
    everything = {"id": None, "before": None, "stream": None, "device": None}
    rows = database.query("corrections", most=MOST_CHANGES, **everything | asked)
    return [row | {"changes": list(_changes(row))} for row in rows]


def _changes(correction: Row) -> Iterator[dict[str, Any]]:
    """Yield a correction's readings, their measures by their JSON names."""
    stream = _stream_of(correction)
    for change in correction["changes"]:
        yield {
            "timestamp": datetime.fromisoformat(change["time"]),
            "before": _named(stream, change["before"]),
            "after": _named(stream, change["after"]),
        }


def _stream_of(correction: Row) -> Stream:
    return next(stream for stream in STREAMS if stream.name == correction["stream"])


def _named(stream: Stream, reading: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    # A reading may be older than a field.
    return {field.name: reading.get(field.column) for field in stream.measures}


def _check_raw(database: Database, stream: Stream, time: datetime) -> None:
    found = database.query_one(f"{stream.name}.raw_dropped_before")
    dropped = found and found["dropped_before"]
    if dropped and time < dropped:
        raise RawDropped(
            f"Raw readings of {stream.plural} before {rfc3339(dropped)} have been dropped: "
            "their hours can't be corrected any more."
        )
