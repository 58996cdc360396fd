"""Local time: the zones that are known, and where buckets of local time begin.

A bucket begins wherever the local clock reads a multiple of its length, or jumps over one. An hour
that a clock goes through twice is two buckets, and a day that it jumps over has none. A day has 23,
24, 24.5 or 25 hours. All moments that come in and go out are in UTC.

The zones are those of the `tzdata` package, never the machine's: every host of a version cuts
days alike, and the version can be said. They are read from its files one by one, since
`zoneinfo.reset_tzpath` would change them for whatever else runs in the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

from fleetwatt.times import DAY, HOUR, MINUTE, SECOND, WEEK

VERSION: str = tzdata.IANA_VERSION
NAMES = frozenset(files(tzdata).joinpath("zones").read_text(encoding="utf-8").split())
DEFAULT_ZONE = "UTC"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Buckets that clocks are divided into, and those that calendars are.
CLOCK = {
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
}
CALENDAR = {
    "1d": DAY,
    "1w": WEEK,
    "1mo": 30.436875 * DAY,
}
USUAL = CLOCK | CALENDAR


@cache
def zone(name: str) -> ZoneInfo:
    """Return a zone by its IANA name.

    Raises:
        KeyError: There is none of that name.
    """
    # A name is a path: none that the list lacks is looked for.
    if name not in NAMES:
        raise KeyError(name)
    with files(tzdata).joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def bounds(start: datetime, end: datetime, bucket: str, local: ZoneInfo) -> list[datetime]:
    """Return where the buckets begin that a window, start <= time < end, touches.

    The last is where the last one ends, so that there is one more than there are buckets.
    """
    found: list[datetime] = []
    for bound in _bounds(start, bucket, local):
        if bound <= start:
            found = [bound]
        elif bound > found[-1]:
            found.append(bound)
        if bound >= end:
            break
    return found


def begin(moment: datetime, bucket: str, local: ZoneInfo) -> datetime:
    """Return where the bucket begins that a moment lies in."""
    return bounds(moment, moment + timedelta.resolution, bucket, local)[0]


def ago(moment: datetime, duration: timedelta, local: ZoneInfo) -> datetime:
    """Return when the local clock read so much less: a day ago is the same time the day before."""
    wall = moment.astimezone(local).replace(tzinfo=None) - duration
    return wall.replace(tzinfo=local).astimezone(UTC)


def _bounds(start: datetime, bucket: str, local: ZoneInfo) -> Iterator[datetime]:
    """Yield bounds in order, without end; the first is at or before a window's start."""
    if bucket in CLOCK:
        width = CLOCK[bucket]
        # No two are further apart than this.
        bound = start.astimezone(UTC).replace(microsecond=0) - 2 * width
        while True:
            bound = _next_read(bound, width, local)
            yield bound
    day = start.astimezone(local).date()
    match bucket:
        case "1w":
            day -= timedelta(days=day.weekday())
        case "1mo":
            day = day.replace(day=1)
    while True:
        yield _first_moment(day, local)
        match bucket:
            case "1d":
                day += DAY
            case "1w":
                day += WEEK
            case "1mo":
                day = (day + timedelta(days=31)).replace(day=1)


def _next_read(moment: datetime, width: timedelta, local: ZoneInfo) -> datetime:
    """Return when, after a moment, the clock next reads a multiple of a width or jumps over it."""
    offset = _offset(moment, local)
    found = moment + width - _past(moment, offset, width)
    if _offset(found, local) == offset:
        return found
    change = _change(moment, found, local)
    now = _offset(change, local)
    past = _past(change, now, width)
    # What the clock would have read, had it not been put forward, is over by as much.
    if not past or now - offset >= past:
        return change
    return change + width - past


def _first_moment(day: date, local: ZoneInfo) -> datetime:
    """Return the first moment of a local day, or of what comes next where the clock jumps over."""
    midnight = datetime.combine(day, time.min, local)
    moment = midnight.astimezone(UTC)
    if moment.astimezone(local).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return moment
    # By the offset before the jump midnight comes after it, by the one after it before.
    return _change(midnight.replace(fold=1).astimezone(UTC), moment, local)


def _change(before: datetime, after: datetime, local: ZoneInfo) -> datetime:
    """Return the second at which the offset changes, before < second <= after."""
    offset = _offset(before, local)
    while after - before > SECOND:
        middle = before + (after - before) // SECOND // 2 * SECOND
        if _offset(middle, local) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(moment: datetime, local: ZoneInfo) -> timedelta:
    return moment.astimezone(local).utcoffset() or timedelta(0)


def _past(moment: datetime, offset: timedelta, width: timedelta) -> timedelta:
    """Return how long the clock, with an offset, is past a multiple of a width."""
    return (moment + offset - EPOCH) % width
