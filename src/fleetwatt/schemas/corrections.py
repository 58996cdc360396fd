"""Corrections of stored readings."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from fleetwatt.lifecycle.corrections import MOST_CHANGES
from fleetwatt.schemas import paging
from fleetwatt.schemas.fields import (
    Answer,
    Choice,
    Flag,
    Identifier,
    Timestamp,
    WholeArgument,
    between,
    count,
    in_our_age,
    optional,
    reading_field,
)
from fleetwatt.streams import STREAMS, Stream

MOST_REASON = 500  # characters
_REASON = "register 0 after a boot"
_EXAMPLE: dict[str, Any] = {
    "timestamp": "2024-02-09T10:00:00Z",
    "before": {"voltage": 0},
    "after": None,
}


def check_reason(reason: str) -> None:
    """Reject a reason that says nothing, or that does not fit on a line.

    Raises:
        ma.ValidationError: It is one of those.
    """
    if not reason.strip():
        raise ma.ValidationError("Must say why.")
    if len(reason) > MOST_REASON or not reason.isprintable():
        raise ma.ValidationError(f"Must be up to {MOST_REASON} printable characters on one line.")


def _reason(**kwargs: Any) -> ma.fields.String:
    metadata = {
        "description": "Why",
        "example": _REASON,
        "maxLength": MOST_REASON,
    }
    return ma.fields.String(validate=check_reason, metadata=metadata, **kwargs)


def _replacement(stream: Stream) -> ma.Schema:
    fields: dict[str, Any] = {field.name: reading_field(field) for field in stream.measures}
    return ma.Schema.from_dict(
        fields | {"reason": _reason(required=True)}, name=f"{stream.name.title()}Replacement"
    )()


REPLACEMENT_SCHEMAS = {stream: _replacement(stream) for stream in STREAMS}


class RemovalQuery(ma.Schema):
    """Which readings to remove, start <= time < end, and why."""

    start = Timestamp(
        required=True,
        validate=in_our_age,
        metadata={"description": "First time", "example": "2024-02-09T10:00:00Z"},
    )
    end = Timestamp(
        required=True,
        validate=in_our_age,
        metadata={"description": "End, exclusive", "example": "2024-02-09T11:00:00Z"},
    )
    reason = _reason()
    dryRun = Flag(
        numbers=True,
        load_default=False,
        metadata={"description": "`true`: count the readings and remove none; needs no reason"},
    )

    @ma.validates_schema
    def _complete(self, data: dict[str, Any], **_: Any) -> None:
        if "reason" not in data and not data["dryRun"]:
            raise ma.ValidationError("Missing: say why you correct it.", "reason")
        if data["start"] >= data["end"]:
            raise ma.ValidationError("Must come before the span's end.", "start")


class Removal(Answer):
    """What was removed."""

    removed = count("Readings removed; with `dryRun` those that would be", 60)


class Change(Answer):
    """One reading of a correction."""

    timestamp = Timestamp(
        metadata={"description": "When it was taken", "example": "2024-02-09T10:00:00Z"}
    )
    before = ma.fields.Dict(
        metadata={"description": "Its measures before", "example": _EXAMPLE["before"]}
    )
    after = optional(ma.fields.Dict, "Its measures after; null: removed", example={"voltage": 230})


class Correction(Answer):
    """Who corrected what, when and why."""

    id = count("Number of the correction", 17)
    stream = ma.fields.String(
        validate=Choice("StreamName", [stream.name for stream in STREAMS]),
        metadata={"description": "Kind of reading", "example": "meter"},
    )
    device = Identifier(metadata={"description": "Id of the device", "example": "M-123"})
    action = ma.fields.String(
        validate=Choice("CorrectionAction", ["replace", "remove"]),
        metadata={"description": "What was done", "example": "remove"},
    )
    start = Timestamp(metadata={"description": "First time", "example": "2024-02-09T10:00:00Z"})
    end = Timestamp(
        metadata={
            "description": "End, exclusive; of one reading its own time",
            "example": "2024-02-09T11:00:00Z",
        }
    )
    readings = count("Readings that were corrected", 60)
    changes = ma.fields.List(
        ma.fields.Nested(Change),
        metadata={
            "description": f"The readings before and after, up to {MOST_CHANGES}",
            "example": [_EXAMPLE],
        },
    )
    reason = ma.fields.String(metadata={"description": "Why", "example": _REASON})
    author = ma.fields.String(
        metadata={
            "description": "Prefix of the API key, or user of the command line",
            "example": "fw_5b3a91c07e2d",
        }
    )
    madeAt = Timestamp(
        attribute="made_at", metadata={"description": "When", "example": "2024-02-10T08:00:00Z"}
    )
    undoneAt = optional(
        Timestamp,
        "When it was undone; null: it holds",
        attribute="undone_at",
        example="2024-02-11T08:00:00Z",
    )
    undoneBy = optional(
        ma.fields.String,
        "Who undid it; null: it holds",
        attribute="undone_by",
        example="fw_5b3a91c07e2d",
    )


class _CorrectionQuery(ma.Schema):
    limit = paging.limit("Corrections")
    after = WholeArgument(
        validate=between(1, paging.GREATEST_ID),
        metadata={"description": "`next` of the page before"},
    )

    @ma.validates_schema
    def _one_device(self, data: dict[str, Any], **_: Any) -> None:
        first, *others = [stream.id.name for stream in STREAMS if stream.id.name in data] or [""]
        if others:
            raise ma.ValidationError(f"Can't be given with {first}.", others[0])


# Which corrections to list, and from where on.
CorrectionQuery = _CorrectionQuery.from_dict(
    {
        stream.id.name: Identifier(metadata={"description": f"Of this {stream.name} only"})
        for stream in STREAMS
    },
    name="CorrectionQuery",
)


class CorrectionPage(Answer):
    """Corrections, the newest first, a page of them."""

    items = ma.fields.List(
        ma.fields.Nested(Correction), metadata={"description": "The corrections"}
    )
    next = optional(ma.fields.Integer, paging.NEXT, example=17)
