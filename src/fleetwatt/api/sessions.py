"""Charging sessions of one vehicle and of the fleet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fleetwatt.analytics import sessions as analytics
from fleetwatt.analytics.summary import summary
from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import NotKnown
from fleetwatt.schemas.paging import cut
from fleetwatt.schemas.sessions import (
    FleetSessionQuery,
    SessionCursor,
    SessionPage,
    SessionQuery,
    VehicleSessionPage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetwatt.database.pool import Row

blueprint = Blueprint(
    "sessions", __name__, url_prefix="/v1/analytics", description="Charging sessions"
)


@blueprint.route("/vehicles/<device_id:vehicleId>/sessions")
@blueprint.arguments(SessionQuery, location="query")
@blueprint.response(200, VehicleSessionPage)
@caching.conditional(blueprint)
@raises(blueprint, 404, 503)
def vehicle_sessions(query: dict[str, Any], vehicleId: str) -> dict[str, Any]:
    """List a vehicle's charging sessions that touch a window, a page at a time.

    Sessions and `idle` add up to the window's energies.
    """
    database = current_database()
    window = _window(query)
    figures = summary(database, vehicleId, window.start, window.end, "interpolated")
    if figures is None:
        raise NotKnown(f"Vehicle {vehicleId} is unknown: no reading, mapping or entry names it.")
    found = analytics.find(database, window, [vehicleId])
    items = [analytics.described(database, session, window) for session in found]
    page, cursor = _page(items, query)
    return {
        "vehicle_id": vehicleId,
        "window_start": window.start,
        "window_end": window.end,
        "items": page,
        "next": cursor,
        "idle": analytics.idle(figures, items),
    }


@blueprint.route("/sessions")
@blueprint.arguments(FleetSessionQuery, location="query")
@blueprint.response(200, SessionPage)
@caching.conditional(blueprint)
@raises(blueprint, 503)
def sessions(query: dict[str, Any]) -> dict[str, Any]:
    """List the charging sessions of all vehicles that touch a window, a page at a time."""
    database = current_database()
    window = _window(query)
    page, cursor = _page(analytics.find(database, window, site=query.get("site")), query)
    return {
        "window_start": window.start,
        "window_end": window.end,
        "items": [analytics.described(database, session, window) for session in page],
        "next": cursor,
    }


def _window(query: dict[str, Any]) -> analytics.Window:
    return analytics.Window(query["start"], query["end"], timedelta(seconds=query["pause"]))


def _page(found: Sequence[Row], query: dict[str, Any]) -> tuple[list[Row], SessionCursor | None]:
    """Cut the page that follows the cursor from sessions in order."""
    after: SessionCursor | None = query.get("after")
    rest = [
        session
        for session in found
        if after is None
        or (session["start"], session["vehicle_id"]) > (after.start, after.vehicle_id)
    ]
    page, last = cut(rest, query["limit"])
    if last is None:
        return page, None
    asked = (query["start"], query["end"], query["pause"], query.get("site"))
    return page, SessionCursor(*asked, last["start"], last["vehicle_id"])
