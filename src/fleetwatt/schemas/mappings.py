"""Mappings of vehicles to meters."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas.fields import Answer, Identifier, Timestamp, optional


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


class MappingQuery(ma.Schema):
    """Which mappings to list."""

    vehicleId = Identifier(metadata={"description": "Of this vehicle only"})
    meterId = Identifier(metadata={"description": "Of this meter only"})


class MappingList(Answer):
    """Mappings, by vehicle and start."""

    items = ma.fields.List(
        ma.fields.Nested(Mapping),
        metadata={"description": "The mappings, by vehicle, the oldest first"},
    )
