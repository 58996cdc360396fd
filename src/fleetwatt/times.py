"""Durations as people write them: `30s`, `5m`, `12h`, `90d`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
LONGEST = timedelta(days=36_500)
_PATTERN = re.compile(r"([0-9]{1,9})([wdhms])")


def parse_duration(text: str, least: timedelta = UNITS["s"]) -> timedelta:
    """Read a duration of at least `least`.

    Raises:
        ValueError: It is none; the message says how one is written, or the range.
    """
    match = _PATTERN.fullmatch(text)
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
