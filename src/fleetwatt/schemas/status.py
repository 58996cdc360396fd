"""The newest reading of a device, and pages of them."""

from __future__ import annotations

from typing import Annotated, Any

import marshmallow as ma
import msgspec

from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import (
    Answer,
    Choice,
    Flag,
    Identifier,
    Number,
    NumberArgument,
    Timestamp,
    in_our_age,
    json_order,
    optional,
    quantity,
    schema_field,
)
from fleetwatt.streams import ID_PATTERN, STREAMS, TIMESTAMP, Stream


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


def _orders(stream: Stream) -> dict[str, tuple[str, int]]:
    """Return the column and the direction, 1 or -1, of each order of a stream's list."""
    sortable = {
        stream.id.name: (stream.id.column, 1),
        **{field.name: (field.column, 1) for field in stream.measures},
        TIMESTAMP.name: (TIMESTAMP.column, 1),
        "receivedAt": ("received_at", 1),
        "ageSeconds": (TIMESTAMP.column, -1),
    }
    return {
        sign + name: (column, direction * turned)
        for name, (column, direction) in sortable.items()
        for sign, turned in (("", 1), ("-", -1))
    }


ORDERS = {stream: _orders(stream) for stream in STREAMS}


class StatusCursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a page ended: in which order, and after what.

    Attributes:
        key: What the list is sorted by, negated where the order falls; None for null and for ids.
    """

    sort: str
    key: float | None
    id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}\\Z")]


class StatusCursorField(paging.CursorField):
    """Where a page ended: an id in the list by id, otherwise what only fleetwatt reads.

    The latter starts with `~`, as no id does.
    """

    def __init__(self, stream: Stream, **kwargs: Any) -> None:
        super().__init__(StatusCursor, **kwargs)
        self._stream = stream

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not value.startswith("~"):
            device: str = Identifier().deserialize(value, attr, data)
            return StatusCursor(self._stream.id.name, None, device)
        cursor: StatusCursor = super()._deserialize(value[1:], attr, data, **kwargs)
        if cursor.sort not in ORDERS[self._stream]:
            raise paging.NotACursor
        return cursor

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        if value.sort == self._stream.id.name:
            device: str = value.id
            return device
        return f"~{super()._serialize(value, attr, obj, **kwargs)}"


STATUS_PAGE_SCHEMAS = {
    stream: Answer.from_dict(
        {
            "items": ma.fields.List(
                ma.fields.Nested(STATUS_SCHEMAS[stream]),
                metadata={"description": f"Status of {stream.plural}, in order"},
            ),
            "next": StatusCursorField(
                stream,
                allow_none=True,
                metadata={"description": paging.NEXT, "example": stream.id.example},
            ),
        },
        name=f"{stream.name.title()}StatusPage",
    )
    for stream in STREAMS
}


class PageQuery(ma.Schema):
    """A keyset page of devices."""

    limit = paging.limit("Devices")
    site = Identifier(metadata={"description": "Only devices of this site"})
    changedSince = Timestamp(
        validate=in_our_age,
        metadata={"description": "Only devices whose newest reading was stored then or later"},
    )
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

    @ma.post_load
    def _one_order(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Go on in a cursor's order.

        Raises:
            ma.ValidationError: The request names another one.
        """
        after: StatusCursor | None = data.get("after")
        if after and data.setdefault("sort", after.sort) != after.sort:
            raise ma.ValidationError(f"Belongs to sort={after.sort}.", "after")
        return {"sort": self.fields["sort"].metadata["default"]} | data


def _page_query(stream: Stream) -> type[ma.Schema]:
    return PageQuery.from_dict(
        {
            "sort": ma.fields.String(
                validate=Choice(f"{stream.name.title()}StatusOrder", ORDERS[stream]),
                metadata={
                    "default": stream.id.name,
                    "description": "The field to sort by, with a minus from the largest down; "
                    f"nulls come last either way, ties go by {stream.id.name}",
                },
            ),
            "after": StatusCursorField(
                stream,
                metadata={
                    "description": "`next` of the page before; goes on with its `sort`. In the "
                    "list by id also any id",
                    "format": "cursor",
                },
            ),
        },
        name=f"{stream.name.title()}StatusPageQuery",
    )


PAGE_QUERIES = {stream: _page_query(stream) for stream in STREAMS}
