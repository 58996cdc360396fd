"""The newest reading of each device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import NotKnown
from fleetwatt.schemas.paging import cut
from fleetwatt.schemas.status import (
    ORDERS,
    PAGE_QUERIES,
    STATUS_PAGE_SCHEMAS,
    STATUS_SCHEMAS,
    StatusCursor,
)
from fleetwatt.streams import STREAMS, Stream

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

blueprint = Blueprint(
    "status", __name__, url_prefix="/v1/status", description="What each device said last"
)


def interval_of(stream: Stream, device: str) -> float:
    """Return a device's interval in seconds.

    Raises:
        NotKnown: It is not registered and has never sent a reading.
    """
    known = current_database().query_one(f"{stream.name}.known_device", id=device)
    if known is None:
        raise NotKnown(f"No reading of {stream.name} {device} has arrived, and it has no entry.")
    interval: float = known["interval_seconds"]
    return interval


def _routes(stream: Stream) -> None:
    @blueprint.route(f"/{stream.plural}/<device_id:{stream.id.name}>", endpoint=stream.name)
    @blueprint.response(200, STATUS_SCHEMAS[stream])
    @caching.conditional(blueprint)
    @blueprint.doc(summary=f"Status of one {stream.name}")
    @raises(blueprint, 404, 422, 503)
    def one(**path: str) -> Row:
        (device,) = path.values()
        database = current_database()
        status = database.query_one(f"{stream.name}.status", id=device, max_kw=database.max_kw)
        if status is None:
            raise NotKnown(f"No reading of {stream.name} {device} has arrived.")
        return status

    @blueprint.route(f"/{stream.plural}", endpoint=stream.plural)
    @blueprint.arguments(PAGE_QUERIES[stream], location="query")
    @blueprint.response(200, STATUS_PAGE_SCHEMAS[stream])
    @caching.conditional(blueprint)
    @blueprint.doc(summary=f"Status of all {stream.plural}, a page at a time")
    @raises(blueprint, 503)
    def page(query: dict[str, Any]) -> Row:
        database = current_database()
        sorted_by, direction = ORDERS[stream][query["sort"]]
        after: StatusCursor | None = query.get("after")
        rows = database.query(
            f"{stream.name}.status_page",
            sorted_by=sorted_by,
            direction=direction,
            after_key=after and after.key,
            after_id=after and after.id,
            site=query.get("site"),
            stale=query["stale"],
            stale_after=query.get("staleAfter"),
            changed_since=query.get("changedSince"),
            limit=query["limit"] + 1,
            max_kw=database.max_kw,
        )
        items, last = cut(rows, query["limit"])
        return {
            "items": items,
            "next": last and StatusCursor(query["sort"], last["key"], last["device"]),
        }


for _stream in STREAMS:
    _routes(_stream)
