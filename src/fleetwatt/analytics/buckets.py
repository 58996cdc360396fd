"""Buckets of a window of time, start < time <= end: which there are, also without a reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetwatt.database.pool import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
# Readings come one a minute: neighbours further apart than this have missed one.
SILENCE = timedelta(seconds=90)


def touched(start: datetime, end: datetime, width: timedelta) -> tuple[datetime, int]:
    """Return the first bucket that a window, start < time <= end, touches, and how many it does."""

    def begun(time: datetime) -> datetime:
        return time - (time - EPOCH) % width

    first = begun(start + MICROSECOND)
    return first, (begun(end) - first) // width + 1


def filled(rows: Sequence[Row], start: datetime, end: datetime, width: timedelta) -> Iterator[Row]:
    """Yield a window's buckets, those without a reading empty."""
    found = {row["start"]: row for row in rows}
    first, count = touched(start, end, width)
    for each in (first + number * width for number in range(count)):
        yield found.get(each) or _empty(each)


def parted(rows: Sequence[Row], start: datetime, end: datetime) -> Iterator[Row]:
    """Yield a window's readings, and an empty bucket where none came for longer than SILENCE."""
    last = start
    for row in rows:
        if row["start"] - last > SILENCE:
            yield _empty(last + MINUTE)
        yield row
        last = row["start"]
    if end - last > SILENCE:
        yield _empty(last + MINUTE)


def _empty(start: datetime) -> Row:
    return {"start": start, "readings": 0, "falls": 0}
