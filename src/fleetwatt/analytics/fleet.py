"""The whole fleet, or the devices of a site."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fleetwatt.analytics import energy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which vehicles of a list are asked for.

    Attributes:
        sorted_by, direction: A column, and 1, or -1 from the largest down; nulls come last.
        after_key, after_id: The key and the vehicle that the page before ended with.
        efficiency_below, warning, site: Only vehicles that have these.
        limit: How many at most.
    """

    sorted_by: str
    direction: int
    after_key: float | None
    after_id: str | None
    efficiency_below: float | None
    warning: str | None
    site: str | None
    limit: int


def fleet(database: Database, boundaries: Sequence[datetime], site: str | None) -> dict[str, Any]:
    """Return the figures of all buckets between neighbouring boundaries, of each, and warnings."""
    rows = database.query(
        "fleet_buckets", boundaries=list(boundaries), site=site, max_kw=database.max_kw
    )
    expected = database.query_one("expected_readings", site=site) or {}
    warnings = list(energy.of_curves(rows))
    if any(row["uncertain"] for row in rows):
        warnings.insert(0, "shared_meter_uncertain")
    if any(row["dropped"] for row in rows):
        warnings.append("history_dropped")
    return {
        "total": energy.fleet_figures(rows, boundaries[-1] - boundaries[0], expected),
        "buckets": [
            {"start": start, "end": end, **energy.fleet_figures([row], end - start, expected)}
            for row, (start, end) in zip(rows, pairwise(boundaries), strict=True)
        ],
        "warnings": warnings,
    }


def page(database: Database, start: datetime, end: datetime, asked: Page) -> list[Row]:
    """Return the summaries of a page of vehicles, in order, each with its `key` in that order."""
    rows = database.query(
        "performance_page",
        start=start,
        end=end,
        max_kw=database.max_kw,
        low_coverage=energy.LOW_COVERAGE,
        **asdict(asked),
    )
    # A vehicle may have come back to a meter.
    return [row | {"meter_ids": list(dict.fromkeys(row["meter_ids"]))} for row in rows]


def exact_until(database: Database, start: datetime, end: datetime) -> datetime | None:
    """Return until when the hours of a window hold all that has arrived."""
    found = database.query_one("exact_until", start=start, end=end)
    return found["exact_until"] if found else None
