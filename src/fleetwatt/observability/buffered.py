"""Counts that are kept in memory for a moment, before they go to the files that processes share.

A write to such a file takes more than a microsecond, and a histogram makes two at each
observation. Here an observation is a few additions. `flush` writes what has gathered; a worker
calls it every second, and each scrape does. A process that is killed loses what it counted since.

`_counting` guards the counts of all; no thread holds it while it writes to files.
"""

from __future__ import annotations

import atexit
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

_counting = threading.Lock()
_all: list[Count | Distribution] = []


class Count:
    """What is to be added to a counter."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._gathered = 0
        _all.append(self)

    def inc(self, amount: int) -> None:
        """Count."""
        with _counting:
            self._gathered += amount

    def flush(self) -> None:
        """Write what has gathered."""
        with _counting:
            gathered, self._gathered = self._gathered, 0
        if gathered:
            self._counter.inc(gathered)


class Distribution:
    """What is to be added to a histogram."""

    def __init__(self, histogram: Histogram) -> None:
        # Nothing public adds more than one observation at a time.
        self._buckets, self._sum = histogram._buckets, histogram._sum  # noqa: SLF001
        self._bounds = histogram._upper_bounds  # noqa: SLF001
        self._counts = [0] * len(self._bounds)
        self._total = 0.0
        _all.append(self)

    def observe(self, value: float) -> None:
        """Count a value into the first bucket that holds it."""
        with _counting:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._total += value

    def flush(self) -> None:
        """Write what has gathered."""
        with _counting:
            counts, self._counts = self._counts, [0] * len(self._bounds)
            total, self._total = self._total, 0.0
        if any(counts):
            self._sum.inc(total)
            for bucket, count in zip(self._buckets, counts, strict=True):
                if count:
                    bucket.inc(count)


def flush() -> None:
    """Write what all counts and distributions have gathered."""
    for buffered in _all:
        buffered.flush()


atexit.register(flush)
