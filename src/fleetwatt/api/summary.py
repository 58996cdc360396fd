"""What dashboards ask of energy and efficiency."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fleetwatt.analytics import energy
from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import NotKnown
from fleetwatt.schemas.analytics import Performance, WindowQuery

blueprint = Blueprint(
    "analytics", __name__, url_prefix="/v1/analytics", description="Energy and efficiency"
)


@blueprint.route("/performance/<device_id:vehicleId>")
@blueprint.arguments(WindowQuery, location="query")
@blueprint.response(200, Performance)
@caching.conditional(blueprint)
@raises(blueprint, 404, 503)
def performance(query: dict[str, Any], vehicleId: str) -> dict[str, Any]:
    """Summarize a vehicle's last 24 hours, or another window.

    A reading counts when start < time <= end.
    """
    end = query.get("end") or datetime.now(UTC)
    length = timedelta(hours=query["hours"])
    start = end - length
    asked = {"vehicle_id": vehicleId, "start": start, "end": end}
    vehicle = current_database().query_one("vehicle_window", **asked)
    if vehicle is None or not vehicle["known"]:
        raise NotKnown(f"Vehicle {vehicleId} has never been heard of.")
    mappings = vehicle["mappings"]
    for meter_id in {mapping["meter_id"] for mapping in mappings if mapping["shared"]}:
        first, *later = (mapping for mapping in mappings if mapping["meter_id"] == meter_id)
        # The share is that of the whole window, also of when the meter was the vehicle's alone.
        first["ac_kwh"] = _share(vehicleId, meter_id, start, end)
        for mapping in later:
            mapping["ac_kwh"] = None
    return {
        "vehicle_id": vehicleId,
        "window_start": start,
        "window_end": end,
        **energy.summary(vehicle, mappings, length),
    }


def _share(vehicle_id: str, meter_id: str, start: datetime, end: datetime) -> float | None:
    """Return a vehicle's share in kWh of a shared meter over a window, from raw readings."""

    def readings(stream: str, device: str) -> list[energy.Reading]:
        rows = current_database().query(
            f"{stream}.counter_readings", id=device, start=start, end=end
        )
        return [energy.Reading(row["time"], row["kwh"]) for row in rows]

    on_meter = current_database().query("meter_mappings", meter_id=meter_id, start=start, end=end)
    return energy.share(
        vehicle_id,
        readings("meter", meter_id),
        [energy.Mapped(row["vehicle_id"], row["valid_from"], row["valid_to"]) for row in on_meter],
        lambda vehicle: readings("vehicle", vehicle),
    )
