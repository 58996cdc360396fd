"""Mappings of vehicles to meters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import marshmallow as ma
import msgspec

from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import Answer, Identifier, Timestamp, optional
from fleetwatt.streams import ID_PATTERN


class MappingRequest(ma.Schema):
    """Which meter a vehicle draws from."""

    vehicleId = Identifier(
        required=True, metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        required=True, metadata={"description": "Id of the meter", "example": "M-123"}
    )
    validFrom = Timestamp(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "From when on; absent: always for a vehicle's first mapping, else now",
            "example": "2024-02-09T10:00:00Z",
        },
    )


class Mapping(Answer):
    """A vehicle's time on a meter, [validFrom, validTo)."""

    vehicleId = Identifier(
        attribute="vehicle_id", metadata={"description": "Id of the vehicle", "example": "V-999"}
    )
    meterId = Identifier(
        attribute="meter_id", metadata={"description": "Id of the meter", "example": "M-123"}
    )
    validFrom = optional(
        Timestamp,
        "Start; null: since ever",
        attribute="valid_from",
        example="2024-02-09T10:00:00Z",
    )
    validTo = optional(
        Timestamp,
        "End, exclusive; null: open",
        attribute="valid_to",
        example="2024-02-10T10:00:00Z",
    )


class MappingCursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The mapping after which a page ended; one since ever starts at None."""

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
        ma.fields.Nested(Mapping),
        metadata={"description": "The mappings, by vehicle, the oldest first"},
    )
    next = paging.CursorField(
        MappingCursor,
        allow_none=True,
        metadata={"description": paging.NEXT, "example": "WyJWLTk5OSIsbnVsbF0="},
    )
