"""Waiting for what has to come about by itself: generously, since no test is about speed."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds


def eventually(condition: Callable[[], bool], complaint: str, seconds: float = PATIENCE) -> None:
    """Return once a condition holds.

    Raises:
        AssertionError: It does not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint} after {seconds:g} s")
        time.sleep(0.05)
