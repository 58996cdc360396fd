"""What dashboards ask of the whole fleet, over whole hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fleetwatt.analytics import energy
from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.schemas.fleet import (
    ORDERS,
    Fleet,
    FleetQuery,
    PerformanceCursor,
    PerformancePage,
    PerformancePageQuery,
)
from fleetwatt.schemas.paging import cut
from fleetwatt.streams import STREAMS
from fleetwatt.times import hour_of

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

blueprint = Blueprint(
    "fleet", __name__, url_prefix="/v1/analytics", description="Energy of the whole fleet"
)


@blueprint.route("/performance")
@blueprint.arguments(PerformancePageQuery, location="query")
@blueprint.response(200, PerformancePage)
@caching.conditional(blueprint)
@raises(blueprint, 503)
def performances(query: dict[str, Any]) -> dict[str, Any]:
    """Summarize every vehicle over whole hours, in order of a figure, a page at a time.

    The figures are those of the route about one vehicle, as of the last refresh of the hourly
    aggregates: `exactUntil` says up to when nothing that has arrived is missing.
    """
    after: PerformanceCursor | None = query.get("after")
    window = _window(query.get("end"), query["hours"])
    # Asked first: a refresh that comes between the two can only make the answer better than said.
    exact = current_database().query_one("exact_until", **window)
    column, direction = ORDERS[query["sort"]]
    rows = current_database().query(
        "performance_page",
        **window,
        low_coverage=energy.LOW_COVERAGE,
        sorted_by=column,
        direction=direction,
        efficiency_below=query.get("efficiencyBelow"),
        warning=query.get("warning"),
        after_key=after and after.key,
        after_id=after and after.vehicle_id,
        limit=query["limit"] + 1,
    )
    page, last = cut(rows, query["limit"])
    return {
        **_ends(window),
        "exact_until": exact and exact["exact_until"],
        "items": [_summary(row, window) for row in page],
        "next": last
        and PerformanceCursor(
            query["sort"], window["end"], query["hours"], last["key"], last["vehicle_id"]
        ),
    }


@blueprint.route("/fleet")
@blueprint.arguments(FleetQuery, location="query")
@blueprint.response(200, Fleet)
@caching.conditional(blueprint)
@raises(blueprint, 503)
def fleet(query: dict[str, Any]) -> dict[str, Any]:
    """Sum the whole fleet up over whole hours and by the hour, and count who reports.

    The figures are as of the last refresh of the hourly aggregates: `exactUntil` says up to when
    nothing that has arrived is missing. Who reports, is stale or silent is as of now.
    """
    window = _window(query.get("end"), query["hours"])
    exact = current_database().query_one("exact_until", **window)
    rows = current_database().query("fleet_hours", **window)
    fresh = {
        stream.plural: current_database().query_one(
            f"{stream.name}.freshness",
            start=window["start"],
            stale_after=query.get("staleAfter"),
            site=None,
        )
        or {}
        for stream in STREAMS
    }
    devices = {plural: sum(counts.values()) for plural, counts in fresh.items()}
    return {
        **_ends(window),
        "exact_until": exact and exact["exact_until"],
        **energy.fleet(rows, devices),
        **fresh,
        "hours": [{"start": row["hour"], **energy.fleet([row], devices)} for row in rows],
    }


def _window(end: datetime | None, hours: int) -> dict[str, datetime]:
    end = end or hour_of(datetime.now(UTC))
    return {"start": end - timedelta(hours=hours), "end": end}


def _ends(window: dict[str, datetime]) -> dict[str, datetime]:
    return {"window_start": window["start"], "window_end": window["end"]}


def _summary(row: Row, window: dict[str, datetime]) -> Row:
    # A meter that the vehicle came back to is there for each of its mappings.
    return {**row, **_ends(window), "meter_ids": list(dict.fromkeys(row["meter_ids"]))}
