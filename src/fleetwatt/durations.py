"""Durations as people write them: `90d`, `12h`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"w": timedelta(weeks=1), "d": timedelta(days=1), "h": timedelta(hours=1)}
LONGEST = timedelta(days=36_500)
_PATTERN = re.compile(r"([0-9]{1,6})([wdh])")


def parse(text: str) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: It is none; the message says how one is written.
    """
    match = _PATTERN.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a duration: write hours, days or weeks, as 12h, 90d, 2w")
    duration = int(match[1]) * UNITS[match[2]]
    if not timedelta(0) < duration <= LONGEST:
        raise ValueError(f"{text} is out of range: from 1h to {written(LONGEST)}")
    return duration


def written(duration: timedelta) -> str:
    """Write a duration in days or hours, or as Python does where it is no whole number of them."""
    for letter in "dh":
        count, rest = divmod(duration, UNITS[letter])
        if not rest:
            return f"{count}{letter}"
    return str(duration)
