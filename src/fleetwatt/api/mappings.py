"""Which vehicle draws from which meter, from when to when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetwatt.http import auth
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import MappingConflict, NotKnown
from fleetwatt.schemas.mappings import (
    Mapping,
    MappingCursor,
    MappingPage,
    MappingQuery,
    MappingRequest,
)
from fleetwatt.schemas.paging import cut
from fleetwatt.streams import VEHICLE
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from fleetwatt.database.pool import Row

blueprint = Blueprint("mappings", __name__, url_prefix="/v1", description="Vehicles on meters")


@blueprint.route("/ingestion/mapping", methods=["POST"])
@blueprint.arguments(MappingRequest)
@blueprint.response(201, Mapping, description="The vehicle is on the meter from now on")
@blueprint.alt_response(200, schema=Mapping, description="That very mapping is open already")
@raises(blueprint, 400, 408, 409, 413, 415, 503)
def map_vehicle(mapping: dict[str, Any]) -> tuple[Row, int]:
    """Put a vehicle on a meter.

    Closes the vehicle's open mapping.
    """
    auth.check_device(VEHICLE, mapping["vehicleId"])
    row = current_database().execute_once(
        "map_vehicle",
        vehicle_id=mapping["vehicleId"],
        meter_id=mapping["meterId"],
        valid_from=mapping["validFrom"],
    )
    assert row is not None  # noqa: S101 - the function always answers
    if row["outcome"] == "conflict":
        start, end = (
            rfc3339(bound) if bound else None for bound in (row["valid_from"], row["valid_to"])
        )
        until = f" until {end}" if end else " on"
        raise MappingConflict(
            f"{mapping['vehicleId']} is on a meter from {start or 'ever'}{until}: "
            "validFrom must come after that mapping's start and past all closed ones"
        )
    return row, 201 if row["outcome"] == "created" else 200


@blueprint.route("/ingestion/mapping/<device_id:vehicleId>", methods=["DELETE"])
@blueprint.response(200, Mapping, description="The mapping, closed")
@raises(blueprint, 404, 422, 503)
def unplug_vehicle(vehicleId: str) -> Row:
    """Take a vehicle off its meter.

    Closes the mapping that it has now and takes back what would begin later. Where it has none now,
    the answer is the first of those, empty: it ends where it begins.
    """
    auth.check_device(VEHICLE, vehicleId)
    closed = current_database().execute_once("unplug_vehicle", vehicle_id=vehicleId)
    if closed is None:
        raise NotKnown(f"Vehicle {vehicleId} is on no meter, now or later.")
    return closed


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
