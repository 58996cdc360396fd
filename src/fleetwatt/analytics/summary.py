"""One vehicle's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetwatt.analytics import energy

if TYPE_CHECKING:
    from datetime import datetime

    from fleetwatt.database.client import Database


def summary(
    database: Database, vehicle_id: str, start: datetime, end: datetime, edges: str
) -> dict[str, Any] | None:
    """Return the figures and warnings of a vehicle's window, or None if it was never heard of.

    With `edges` of `readings` energy is measured from the first to the last reading of
    start <= time <= end, with `interpolated` from start to end.
    """
    told = database.query_one(
        "vehicle_summary",
        vehicle_id=vehicle_id,
        start=start,
        end=end,
        closed=edges == "readings",
        max_kw=database.max_kw,
    )
    if told is None or not told["known"]:
        return None
    return energy.vehicle_figures(told, told["mappings"], end - start)
