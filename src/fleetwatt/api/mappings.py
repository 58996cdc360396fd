"""Which vehicle draws from which meter, from when to when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_smorest import abort

from fleetwatt.http import auth
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import MappingConflict, NotKnown
from fleetwatt.schemas.mappings import (
    MUST_FOLLOW,
    MappingChangePage,
    MappingChangeQuery,
    MappingCursor,
    MappingOptions,
    MappingPage,
    MappingQuery,
    MappingRequest,
    StoredMapping,
    UnplugQuery,
    VehicleMapping,
    described_span,
)
from fleetwatt.schemas.paging import cut
from fleetwatt.streams import VEHICLE
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

blueprint = Blueprint("mappings", __name__, url_prefix="/v1", description="Vehicles on meters")


@blueprint.route("/ingestion/mapping", methods=["POST"])
@blueprint.arguments(MappingOptions, location="query")
@blueprint.arguments(MappingRequest)
@blueprint.response(201, StoredMapping, description="The vehicle is on the meter over that span")
@blueprint.alt_response(200, schema=StoredMapping, description="That very mapping is there already")
@raises(blueprint, 400, 408, 409, 413, 415, 503)
def map_vehicle(options: dict[str, Any], mapping: dict[str, Any]) -> tuple[Row, int]:
    """Put a vehicle on a meter, from now on or over a span, which may be past.

    One that stays open ends the vehicle's open mapping. Any other mapping in the way is a conflict,
    unless `replace=true` cuts it. A meter or a vehicle may be mapped before its first reading: then
    `warnings` names it, as it may be misspelt.
    """
    auth.check_device(VEHICLE, mapping["vehicleId"])
    row = current_database().execute_once(
        "map_vehicle",
        vehicle_id=mapping["vehicleId"],
        meter_id=mapping["meterId"],
        valid_from=mapping["validFrom"],
        valid_to=mapping["validTo"],
        replacing=options["replace"],
        author=auth.author(),
    )
    assert row is not None  # noqa: S101 - the function always answers
    if row["outcome"] == "empty":
        abort(422, messages={"json": {"validTo": [f"{MUST_FOLLOW} Without one that is now."]}})
    if row["outcome"] == "conflict":
        span = described_span(row["valid_from"], row["valid_to"])
        raise MappingConflict(
            f"{mapping['vehicleId']} is on a meter {span}: "
            "choose another span, or cut that mapping with ?replace=true"
        )
    return row, 201 if row["outcome"] == "created" else 200


@blueprint.route("/ingestion/mapping/<device_id:vehicleId>", methods=["DELETE"])
@blueprint.arguments(UnplugQuery, location="query")
@blueprint.response(200, VehicleMapping, description="The mapping, ended")
@raises(blueprint, 404, 503)
def unplug_vehicle(query: dict[str, Any], vehicleId: str) -> Row:
    """Take a vehicle off its meter, now or at another time.

    Without `at` it ends the mapping that the vehicle has now and takes back what would begin later.
    Where it has none now, the answer is the first of those, empty: it ends where it begins. With
    `at` it ends the mapping that the vehicle had then; the others stay.
    """
    auth.check_device(VEHICLE, vehicleId)
    at = query.get("at")
    ended = current_database().execute_once(
        "unplug_vehicle", vehicle_id=vehicleId, at=at, author=auth.author()
    )
    if ended is None:
        when = f"at {rfc3339(at)}" if at else "now or later"
        raise NotKnown(f"Vehicle {vehicleId} is on no meter {when}.")
    return ended


@blueprint.route("/mappings")
@blueprint.arguments(MappingQuery, location="query")
@blueprint.response(200, MappingPage)
@raises(blueprint, 503)
def mappings(query: dict[str, Any]) -> dict[str, Any]:
    """List the history of mappings, a page at a time."""
    after: MappingCursor | None = query.get("after")
    rows = current_database().query(
        "mappings",
        vehicle_id=query.get("vehicleId"),
        meter_id=query.get("meterId"),
        after_vehicle=after and after.vehicle_id,
        after_start=after and after.valid_from,
        limit=query["limit"] + 1,
    )
    items, last = cut(rows, query["limit"])
    return {"items": items, "next": last and MappingCursor(last["vehicle_id"], last["valid_from"])}


@blueprint.route("/mappings/changes")
@blueprint.arguments(MappingChangeQuery, location="query")
@blueprint.response(200, MappingChangePage)
@raises(blueprint, 503)
def mapping_changes(query: dict[str, Any]) -> dict[str, Any]:
    """List the changes of mappings, the newest first, a page at a time."""
    rows = current_database().query(
        "mapping_changes",
        vehicle_id=query.get("vehicleId"),
        meter_id=query.get("meterId"),
        after=query.get("after"),
        limit=query["limit"] + 1,
    )
    page, last = cut(rows, query["limit"])
    items = [row | {"before": _span(row, "before"), "after": _span(row, "after")} for row in page]
    return {"items": items, "next": last and last["id"]}


def _span(row: Row, side: str) -> Row | None:
    """Return when a mapping is valid before or after a change, or None where it is not there."""
    if not row[f"is_there_{side}"]:
        return None
    return {"validFrom": row[f"from_{side}"], "validTo": row[f"to_{side}"]}
