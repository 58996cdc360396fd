"""The items of a series that no reading makes: where a device was silent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

# So many intervals without a reading are silence: at least one has not come.
SILENCE = 1.5


def parted(
    readings: Sequence[Row], start: datetime, end: datetime, interval: timedelta
) -> Iterator[Row]:
    """Yield a window's readings, and an empty item an interval after the last one before silence.

    Where nothing came before it, the interval counts from the window's start.
    """
    last = start
    for reading in readings:
        if reading["start"] - last > SILENCE * interval:
            yield _empty(last + interval)
        yield reading
        last = reading["start"]
    if end - last > SILENCE * interval:
        yield _empty(last + interval)


def _empty(moment: datetime) -> Row:
    counts = {"readings": 0, "resets": 0, "ignored_readings": 0}
    return {"start": moment, "end": moment, **counts, "ignored": False}
