"""Times and durations: the lengths that have names, and how people write them.

A duration is written as `30s`, `5m`, `12h`, `90d` or `2w`, a time as RFC 3339 has it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
UNITS = {"w": WEEK, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
LONGEST = timedelta(days=36_500)
_DURATION = re.compile(r"([0-9]{1,9})([wdhms])")


class NoOffset(ValueError):
    """A time does not say how far it is from UTC."""


def parse_duration(text: str, least: timedelta = SECOND) -> timedelta:
    """Read a duration of at least `least`.

    Raises:
        ValueError: It is none; the message says how one is written, or the range.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text!r} is not a duration: write seconds, minutes, hours, days or weeks, "
            "as 30s, 5m, 12h, 90d, 2w"
        )
    count, unit = int(match[1]), UNITS[match[2]]
    # Compared before it is multiplied: timedelta overflows.
    if count > LONGEST / unit or count * unit < least:
        raise ValueError(
            f"{text} is out of range: from {format_duration(least)} to {format_duration(LONGEST)}"
        )
    return count * unit


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit up to a day that it is a whole number of."""
    for letter in "dhms":
        count, rest = divmod(duration, UNITS[letter])
        if count and not rest:
            return f"{count}{letter}"
    return str(duration) if duration else "0s"


def parse_time(text: str, zone: tzinfo | None = None) -> datetime:
    """Read a date or a time, and return it in UTC.

    Args:
        text: As RFC 3339 writes one.
        zone: Where the clock is that a time without an offset is read from; None: it needs one.

    Raises:
        NoOffset: It has no offset and needs one.
        ValueError: It is none; the message says how one is written.
    """
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo or zone:
            return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time: write 2026-01-31T00:00Z or 2026-01-31") from None
    raise NoOffset(f"{text!r} has no offset from UTC, as Z is one")


def format_minute(time: datetime) -> str:
    """Write a time that is in UTC to the minute, as 2026-01-31T00:00Z."""
    return f"{time.isoformat()[:16]}Z"


def rfc3339(time: datetime) -> str:
    """Write a time in UTC with Z and all of its digits, as every answer does."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def minute_of(time: datetime) -> datetime:
    """Return the start of a time's minute."""
    return time.replace(second=0, microsecond=0)


def hour_of(time: datetime) -> datetime:
    """Return the start of a time's hour."""
    return time.replace(minute=0, second=0, microsecond=0)
