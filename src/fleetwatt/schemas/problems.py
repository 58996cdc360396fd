"""Errors."""

from __future__ import annotations

from typing import ClassVar

import marshmallow as ma

from fleetwatt.faults import MAX_FAULTS
from fleetwatt.schemas.fields import Answer, optional


class FieldError(Answer):
    """What is wrong with one reading or argument."""

    index = optional(
        ma.fields.Integer, "Which reading, counted from 0; null for an argument", example=0
    )
    field = optional(ma.fields.String, "The field at fault; null for the whole", example="voltage")
    message = ma.fields.String(
        metadata={"description": "What is wrong", "example": "Not a number."}
    )


class Problem(Answer):
    """An error, as RFC 9457 describes it."""

    sometimes: ClassVar = frozenset({"errors", "errorsOmitted"})

    type = ma.fields.String(
        metadata={"description": "Kind of problem", "example": "urn:fleetwatt:problem:not-known"},
    )
    title = ma.fields.String(
        metadata={"description": "The kind in words", "example": "Nothing is known under that id"}
    )
    status = ma.fields.Integer(metadata={"description": "HTTP status", "example": 404})
    detail = ma.fields.String(
        metadata={
            "description": "What happened here",
            "example": "Vehicle V-1 has never been heard of.",
        },
    )
    errors = ma.fields.List(
        ma.fields.Nested(FieldError),
        metadata={"description": "The fields at fault, where fields are"},
    )
    errorsOmitted = ma.fields.Integer(
        metadata={
            "description": f"Errors that `errors`, with its {MAX_FAULTS} at most, does not list",
            "example": 12,
        }
    )
