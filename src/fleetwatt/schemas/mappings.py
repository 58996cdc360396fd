"""Mappings of vehicles to meters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import marshmallow as ma
import msgspec

from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import (
    Answer,
    Choice,
    Flag,
    Identifier,
    Timestamp,
    WholeArgument,
    absent,
    between,
    optional,
)
from fleetwatt.streams import ID_PATTERN
from fleetwatt.times import rfc3339

MUST_FOLLOW = "Must come after validFrom."


class MappingRequest(ma.Schema):
    """Which meter a vehicle draws from."""

    vehicleId = Identifier(
        required=True, metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        required=True, metadata={"description": "Id of the meter", "example": "M-123"}
    )
    validFrom = Timestamp(
        load_default=absent,
        allow_none=True,
        metadata={
            "description": "From when on; absent: always for a vehicle's first mapping, else now",
            "example": "2024-02-09T10:00:00Z",
        },
    )
    validTo = Timestamp(
        load_default=absent,
        allow_none=True,
        metadata={
            "description": "Until when, exclusive; absent: it stays open",
            "example": "2024-02-10T10:00:00Z",
        },
    )

    @ma.validates_schema
    def _in_order(self, data: dict[str, Any], **_: Any) -> None:
        if data["validFrom"] and data["validTo"] and data["validFrom"] >= data["validTo"]:
            raise ma.ValidationError(MUST_FOLLOW, "validTo")


def described_span(start: datetime | None, end: datetime | None) -> str:
    """Say when a mapping is valid."""
    until = f"until {rfc3339(end)}" if end else "on"
    return f"from {rfc3339(start) if start else 'ever'} {until}"


class MappingOptions(ma.Schema):
    """What becomes of mappings that are in the way."""

    replace = Flag(
        numbers=True,
        load_default=False,
        metadata={
            "description": "`true`: cut the vehicle's other mappings to make room; otherwise a "
            "mapping that would be in two places is a conflict"
        },
    )


class UnplugQuery(ma.Schema):
    """When a vehicle was unplugged."""

    at = Timestamp(metadata={"description": "When; absent: now", "example": "2024-02-10T10:00:00Z"})


class VehicleMapping(Answer):
    """A vehicle's time on a meter, [validFrom, validTo)."""

    vehicleId = Identifier(
        attribute="vehicle_id", metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        attribute="meter_id", metadata={"description": "Id of the meter", "example": "M-123"}
    )
    validFrom = optional(
        Timestamp,
        "Start; null: from the beginning",
        attribute="valid_from",
        example="2024-02-09T10:00:00Z",
    )
    validTo = optional(
        Timestamp,
        "End, exclusive; null: open",
        attribute="valid_to",
        example="2024-02-10T10:00:00Z",
    )


MAPPING_WARNINGS = {
    "unknown_meter": "the meter has sent nothing yet and is not registered",
    "unknown_vehicle": "the vehicle has sent nothing yet and is not registered",
}


class StoredMapping(VehicleMapping):
    """A vehicle's time on a meter, as it was just stored."""

    warnings = ma.fields.List(
        ma.fields.String(validate=Choice("MappingWarning", MAPPING_WARNINGS)),
        metadata={
            "description": "; ".join(
                f"`{name}`: {text}" for name, text in MAPPING_WARNINGS.items()
            ),
            "example": [],
        },
    )


class MappingCursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The mapping after which a page ended; one from the beginning starts at None."""

    vehicle_id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}\\Z")]
    valid_from: Annotated[datetime, msgspec.Meta(tz=True)] | None


class MappingQuery(ma.Schema):
    """Which mappings to list, and from where on."""

    vehicleId = Identifier(metadata={"description": "Of this vehicle only"})
    meterId = Identifier(metadata={"description": "Of this meter only"})
    limit = paging.limit("Mappings", default=10_000, most=10_000)
    after = paging.CursorField(
        MappingCursor, metadata={"description": "`next` of the page before", "format": "cursor"}
    )


class MappingPage(Answer):
    """Mappings, by vehicle and start, a page of them."""

    items = ma.fields.List(
        ma.fields.Nested(VehicleMapping),
        metadata={"description": "The mappings, by vehicle, the oldest first"},
    )
    next = paging.CursorField(
        MappingCursor,
        allow_none=True,
        metadata={"description": paging.NEXT, "example": "WyJWLTk5OSIsbnVsbF0="},
    )


class MappingSpan(Answer):
    """When a mapping is valid, [validFrom, validTo)."""

    validFrom = optional(
        Timestamp, "Start; null: from the beginning", example="2024-02-09T10:00:00Z"
    )
    validTo = optional(Timestamp, "End, exclusive; null: open", example="2024-02-10T10:00:00Z")


class MappingChange(Answer):
    """One change of the history of mappings."""

    id = ma.fields.Integer(metadata={"description": "Number of the change", "example": 17})
    changedAt = Timestamp(
        attribute="changed_at",
        metadata={"description": "When it was made", "example": "2024-02-16T08:00:00Z"},
    )
    author = ma.fields.String(
        metadata={
            "description": "Who made it: the prefix of an API key, a user of the command line, or "
            "a role of the database",
            "example": "fw_0a1b2c3d4e5f",
        }
    )
    vehicleId = Identifier(
        attribute="vehicle_id", metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        attribute="meter_id", metadata={"description": "Id of the meter", "example": "M-123"}
    )
    before = ma.fields.Nested(
        MappingSpan,
        allow_none=True,
        metadata={
            "description": "When it was valid before; null: it was not there",
            "example": {"validFrom": "2024-02-09T10:00:00Z", "validTo": None},
        },
    )
    after = ma.fields.Nested(
        MappingSpan,
        allow_none=True,
        metadata={
            "description": "When it is valid since; null: it was removed",
            "example": {"validFrom": "2024-02-09T10:00:00Z", "validTo": "2024-02-10T10:00:00Z"},
        },
    )


class MappingChangeQuery(ma.Schema):
    """Which changes of mappings to list, and from where on."""

    vehicleId = Identifier(metadata={"description": "Of this vehicle only"})
    meterId = Identifier(metadata={"description": "Of this meter only"})
    limit = paging.limit("Changes")
    after = WholeArgument(
        validate=between(1, paging.GREATEST_ID),
        metadata={"description": "`next` of the page before"},
    )


class MappingChangePage(Answer):
    """Changes of mappings, a page of them."""

    items = ma.fields.List(
        ma.fields.Nested(MappingChange), metadata={"description": "The changes, the newest first"}
    )
    next = ma.fields.Integer(allow_none=True, metadata={"description": paging.NEXT, "example": 17})
