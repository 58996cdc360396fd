"""The newest reading of a device, and pages of them."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import (
    Answer,
    Flag,
    Identifier,
    Number,
    NumberArgument,
    Timestamp,
    json_order,
    optional,
    quantity,
    schema_field,
)
from fleetwatt.streams import STREAMS, Stream


def _status_schema(stream: Stream) -> type[ma.Schema]:
    fields = {
        field.name: schema_field(field, attribute=field.column, allow_none=field.may_be_unknown)
        for field in json_order(stream)
    }
    fields["receivedAt"] = Timestamp(
        attribute="received_at",
        metadata={"description": "When it was stored", "example": "2024-02-09T10:00:01Z"},
    )
    fields["ageSeconds"] = Number(
        attribute="age_seconds",
        metadata={
            "description": "Time since the reading was taken (s)",
            "x-unit": "s",
            "example": 12.5,
        },
    )
    fields["powerKw"] = quantity(
        "Mean power over at least the last 5 minutes; null where it is stale or there is no "
        "reading so long before",
        "kW",
        7.4,
        attribute="power_kw",
    )
    fields["charging"] = optional(
        ma.fields.Boolean, "Whether that is 0.1 kW at least; null like it", example=True
    )
    if stream.drawn_from:
        fields[stream.drawn_from.name] = optional(
            Identifier,
            "The one it draws from now; null: none",
            attribute=stream.drawn_from.column,
            example=stream.drawn_from.example,
        )
    return Answer.from_dict(fields, name=f"{stream.name.title()}Status")


STATUS_SCHEMAS = {stream: _status_schema(stream) for stream in STREAMS}
STATUS_PAGE_SCHEMAS = {
    stream: Answer.from_dict(
        {
            "items": ma.fields.List(
                ma.fields.Nested(STATUS_SCHEMAS[stream]),
                metadata={"description": f"Status of {stream.plural}, by id"},
            ),
            "next": optional(
                Identifier,
                paging.NEXT,
                example=stream.id.example,
            ),
        },
        name=f"{stream.name.title()}StatusPage",
    )
    for stream in STREAMS
}


class PageQuery(ma.Schema):
    """A keyset page of devices."""

    limit = paging.limit("Devices")
    after = Identifier(metadata={"description": "Only devices with an id after this one"})
    site = Identifier(metadata={"description": "Only devices of this site"})
    stale = Flag(
        metadata={
            "description": "`true`: only devices that are stale; `false`: only the others; default "
            "all, or with `staleAfter` the stale ones"
        },
    )
    staleAfter = NumberArgument(
        validate=ma.validate.Range(0),
        metadata={
            "description": "Age of a device's newest reading past which it is stale; default 5 of "
            "its intervals (s)",
            "x-unit": "s",
        },
    )

    @ma.post_load
    def _stale_alone(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"stale": True if "staleAfter" in data else None} | data
