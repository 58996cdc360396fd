"""The whole fleet, or the devices of a site."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fleetwatt.analytics import energy
from fleetwatt.schemas.fleet import ORDERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row


def fleet(
    database: Database,
    boundaries: Sequence[datetime],
    default_kw: float,
    site: str | None = None,
) -> dict[str, Any]:
    """Return the figures of all buckets between neighbouring boundaries, of each, and warnings."""
    rows = database.query(
        "fleet_buckets", boundaries=list(boundaries), site=site, max_kw=default_kw
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


def page(
    database: Database,
    start: datetime,
    end: datetime,
    default_kw: float,
    *,
    sort: str,
    after_key: float | None,
    after_id: str | None,
    efficiency_below: float | None,
    warning: str | None,
    limit: int,
    site: str | None = None,
) -> list[Row]:
    """Return the summaries of vehicles in order of a figure, those after a key and an id.

    Args:
        sort: One of ORDERS; nulls come last either way.
    """
    sorted_by, direction = ORDERS[sort]
    rows = database.query(
        "performance_page",
        start=start,
        end=end,
        max_kw=default_kw,
        low_coverage=energy.LOW_COVERAGE,
        sorted_by=sorted_by,
        direction=direction,
        after_key=after_key,
        after_id=after_id,
        efficiency_below=efficiency_below,
        warning=warning,
        site=site,
        limit=limit,
    )
    # A vehicle may have come back to a meter.
    return [row | {"meter_ids": list(dict.fromkeys(row["meter_ids"]))} for row in rows]


def exact_until(database: Database, start: datetime, end: datetime) -> datetime | None:
    """Return until when the hours of a window hold all that has arrived."""
    found = database.query_one("exact_until", start=start, end=end)
    return found and found["exact_until"]
