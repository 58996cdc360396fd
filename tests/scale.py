"""How much the random tests try: a part in `make test`, all of it in `make test-long`.

A test that asks `scaled()` is marked `scaled`, so that `make test-long` finds it.
"""

from __future__ import annotations

import os

SCALE = float(os.environ.get("FLEETWATT_TEST_SCALE", "0.2"))


def scaled(full: int) -> int:
    """Return how many examples to try of a full number of them: FLEETWATT_TEST_SCALE's part."""
    return max(1, round(full * SCALE))
