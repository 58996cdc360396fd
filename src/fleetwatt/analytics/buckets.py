"""Buckets of a window of time, start < time <= end: which there are, also without a reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetwatt.database.pool import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# So many intervals without a reading are silence: at least one has not come.
SILENCE = 1.5


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


def parted(
    rows: Sequence[Row], start: datetime, end: datetime, interval: timedelta
) -> Iterator[Row]:
    """Yield a window's readings, and in a silence an empty bucket an interval after its start."""
    last = start
    for row in rows:
        if row["start"] - last > SILENCE * interval:
            yield _empty(last + interval)
        yield row
        last = row["start"]
    if end - last > SILENCE * interval:
        yield _empty(last + interval)


def _empty(start: datetime) -> Row:
    return {"start": start, "readings": 0, "falls": 0}
