"""Administrators correct readings that are stored: each correction is kept, and can be undone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import marshmallow as ma
from flask_smorest import abort

from fleetwatt.http import auth
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import NotKnown
from fleetwatt.lifecycle import corrections
from fleetwatt.lifecycle.corrections import DeviceHistory, Signature
from fleetwatt.schemas.corrections import (
    REPLACEMENT_SCHEMAS,
    Correction,
    CorrectionPage,
    CorrectionQuery,
    Removal,
    RemovalQuery,
)
from fleetwatt.schemas.fields import Timestamp
from fleetwatt.schemas.paging import GREATEST_ID, cut
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

blueprint = Blueprint(
    "corrections", __name__, url_prefix="/v1/readings", description="Stored readings are corrected"
)


def _signature(reason: str) -> Signature:
    return Signature(reason, auth.author())


def _time(text: str) -> datetime:
    """Read the time in a path."""
    try:
        time: datetime = Timestamp().deserialize(text)
    except ma.ValidationError as error:
        abort(422, messages={"path": {"timestamp": error.messages}})
    return time


def _routes(stream: Stream) -> None:
    device_path = f"/{stream.plural}/<device_id:{stream.id.name}>"

    @blueprint.route(
        f"{device_path}/<string:timestamp>", methods=["PUT"], endpoint=f"put_{stream.name}"
    )
    @blueprint.arguments(REPLACEMENT_SCHEMAS[stream])
    @blueprint.response(200, Correction, description="The correction; the reading is replaced")
    @blueprint.doc(summary=f"Replace a stored reading of a {stream.name}")
    @raises(blueprint, 400, 404, 408, 409, 413, 415, 503)
    def replace(replacement: dict[str, Any], timestamp: str, **path: str) -> Row:
        (device,) = path.values()
        time = _time(timestamp)
        history = DeviceHistory(current_database(), stream, device)
        made = history.replace(time, replacement, _signature(replacement["reason"]))
        if made is None:
            raise NotKnown(f"No reading of {stream.name} {device} at {rfc3339(time)} is stored.")
        return made

    @blueprint.route(device_path, methods=["DELETE"], endpoint=f"delete_{stream.name}")
    @blueprint.arguments(RemovalQuery, location="query")
    @blueprint.response(200, Removal, description="How many readings were removed")
    @blueprint.doc(summary=f"Remove a {stream.name}'s readings of a span")
    @raises(blueprint, 404, 409, 503)
    def remove(query: dict[str, Any], **path: str) -> dict[str, int]:
        (device,) = path.values()
        history = DeviceHistory(current_database(), stream, device)
        span = query["start"], query["end"]
        if query["dryRun"]:
            return {"removed": history.count(*span)}
        return {"removed": history.remove(*span, _signature(query["reason"]))}


for _stream in STREAMS:
    _routes(_stream)


@blueprint.route("/corrections")
@blueprint.arguments(CorrectionQuery, location="query")
@blueprint.response(200, CorrectionPage)
@raises(blueprint, 503)
def corrections_page(query: dict[str, Any]) -> dict[str, Any]:
    """List corrections, the newest first, a page at a time."""
    devices = ((stream, query[stream.id.name]) for stream in STREAMS if stream.id.name in query)
    rows = corrections.newest(
        current_database(), query["limit"] + 1, query.get("after"), next(devices, None)
    )
    items, last = cut(rows, query["limit"])
    return {"items": items, "next": last and last["id"]}


@blueprint.route(f"/corrections/<int(max={GREATEST_ID}):correctionId>/undo", methods=["POST"])
@blueprint.response(200, Correction, description="The correction, undone")
@raises(blueprint, 404, 409, 422, 503)
def undo(correctionId: int) -> Row:
    """Undo a correction: what was there before it is there again."""
    undone = corrections.undo(current_database(), correctionId, author=auth.author())
    if undone is None:
        raise NotKnown(f"There is no correction {correctionId}.")
    return undone
