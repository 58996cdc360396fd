"""One device's curve in buckets, and its readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetwatt.analytics import energy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row
    from fleetwatt.streams import Stream


def buckets(
    database: Database, stream: Stream, device: str, boundaries: Sequence[datetime]
) -> tuple[list[Row], list[str]]:
    """Return a row for each bucket between neighbouring boundaries, and the warnings of all.

    Boundaries ascend; a bucket holds its start and not its end.
    """
    rows = database.query(
        f"{stream.name}.buckets",
        id=device,
        boundaries=list(boundaries),
        start=boundaries[0],
        end=boundaries[-1],
        max_kw=database.max_kw,
    )
    return _shown(stream, rows), _warnings(rows)


def readings(
    database: Database, stream: Stream, device: str, window: tuple[datetime, datetime], most: int
) -> tuple[list[Row], list[str]]:
    """Return a row for each reading of a window, its end excluded, and the warnings of all."""
    start, end = window
    rows = database.query(
        f"{stream.name}.readings",
        id=device,
        start=start,
        end=end,
        most=most,
        max_kw=database.max_kw,
    )
    return _shown(stream, rows), _warnings(rows)


def _shown(stream: Stream, rows: Sequence[Row]) -> list[Row]:
    sums = [statistic.column for statistic in stream.statistics if statistic.kind == "avg"]
    return [
        row
        | {column: energy.rounded(row[column]) for column in ("energy_kwh", *sums)}
        | {"resets": row["falls"] + row["jumps"]}
        for row in rows
    ]


def _warnings(rows: Sequence[Row]) -> list[str]:
    found = list(energy.of_curves(rows))
    if any(row.get("dropped") for row in rows):
        found.append("history_dropped")
    return found
