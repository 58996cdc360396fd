"""What dashboards ask of energy and efficiency."""

from __future__ import annotations

from typing import Any

from fleetwatt.analytics.summary import summary
from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import NotKnown
from fleetwatt.schemas.analytics import Performance, PerformanceQuery

blueprint = Blueprint(
    "analytics", __name__, url_prefix="/v1/analytics", description="Energy and efficiency"
)


@blueprint.route("/performance/<device_id:vehicleId>")
@blueprint.arguments(PerformanceQuery, location="query")
@blueprint.response(200, Performance)
@caching.conditional(blueprint)
@raises(blueprint, 404, 503)
def performance(query: dict[str, Any], vehicleId: str) -> dict[str, Any]:
    """Summarize a vehicle's last 24 hours, or another window.

    A reading counts when start <= time < end; with `edges=readings` one at the end does, too.
    """
    start, end = query["start"], query["end"]
    figures = summary(current_database(), vehicleId, start, end, query["edges"])
    if figures is None:
        raise NotKnown(f"Vehicle {vehicleId} is unknown: no reading, mapping or entry names it.")
    return {"vehicle_id": vehicleId, "window_start": start, "window_end": end, **figures}
