"""The newest reading of a device, and pages of them."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import (
    Answer,
    Identifier,
    Number,
    NumberArgument,
    Timestamp,
    json_order,
    optional,
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
    staleAfter = NumberArgument(
        validate=ma.validate.Range(0),
        metadata={
            "description": "Only devices whose newest reading is older than this (s)",
            "x-unit": "s",
        },
    )
