"""What dashboards ask of the whole fleet, over whole hours or days of a time zone."""

from __future__ import annotations

from typing import Any

from fleetwatt import calendar
from fleetwatt.analytics import fleet as analytics
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

    The figures are those of the route about one vehicle with `edges=interpolated`, as of the last
    refresh of the hourly aggregates: `exactUntil` says up to when nothing that has arrived is
    missing.
    """
    after: PerformanceCursor | None = query.get("after")
    start, end = query["start"], query["end"]
    database = current_database()
    # Asked first: a refresh that comes between the two can only make the answer better than said.
    exact = analytics.exact_until(database, start, end)
    sorted_by, direction = ORDERS[query["sort"]]
    rows = analytics.page(
        database,
        start,
        end,
        analytics.Page(
            sorted_by=sorted_by,
            direction=direction,
            after_key=after.key if after else None,
            after_id=after.vehicle_id if after else None,
            efficiency_below=query.get("efficiencyBelow"),
            warning=query.get("warning"),
            site=query.get("site"),
            limit=query["limit"] + 1,
        ),
    )
    page, last = cut(rows, query["limit"])
    window = {"window_start": start, "window_end": end}
    return {
        **window,
        "exact_until": exact,
        "items": [{**row, **window} for row in page],
        "next": last
        and PerformanceCursor(
            query["sort"],
            start,
            end,
            query["tz"].key,
            query.get("site"),
            last["key"],
            last["vehicle_id"],
        ),
    }


@blueprint.route("/fleet")
@blueprint.arguments(FleetQuery, location="query")
@blueprint.response(200, Fleet)
@caching.conditional(blueprint)
@raises(blueprint, 503)
def fleet(query: dict[str, Any]) -> dict[str, Any]:
    """Sum the whole fleet up over whole hours or days, in all and each, and count who reports.

    The figures are as of the last refresh of the hourly aggregates: `exactUntil` says up to when
    nothing that has arrived is missing. Who reports, is stale or silent is as of now.
    """
    start, end, bucket = query["start"], query["end"], query["bucket"]
    database = current_database()
    exact = analytics.exact_until(database, start, end)
    bounds = calendar.bounds(start, end, bucket, query["tz"])
    figures = analytics.fleet(database, bounds, query.get("site"))
    fresh = {
        stream.plural: database.query_one(
            f"{stream.name}.freshness",
            start=start,
            stale_after=query.get("staleAfter"),
            site=query.get("site"),
        )
        for stream in STREAMS
    }
    return {
        "window_start": start,
        "window_end": end,
        "exact_until": exact,
        **figures["total"],
        "warnings": figures["warnings"],
        **fresh,
        "items": figures["buckets"],
        **({"hours": figures["buckets"]} if bucket == "1h" else {}),
    }
