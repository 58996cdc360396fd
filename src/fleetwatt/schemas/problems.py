"""Errors."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas.fields import optional


class IngestionError(ma.Schema):
    """What is wrong with one reading or argument."""

    index = optional(
        ma.fields.Integer, "Which reading, counted from 0; null for an argument", example=0
    )
    field = optional(ma.fields.String, "The field at fault; null for the whole", example="voltage")
    message = ma.fields.String(
        required=True, metadata={"description": "What is wrong", "example": "Not a number."}
    )


class Problem(ma.Schema):
    """An error, as RFC 9457 describes it."""

    type = ma.fields.String(
        required=True,
        metadata={"description": "Kind of problem", "example": "urn:fleetwatt:problem:not-found"},
    )
    title = ma.fields.String(
        required=True, metadata={"description": "The kind in words", "example": "Not found"}
    )
    status = ma.fields.Integer(
        required=True, metadata={"description": "HTTP status", "example": 404}
    )
    detail = ma.fields.String(
        required=True,
        metadata={"description": "What happened here", "example": "No vehicle V-1 is known."},
    )
    errors = ma.fields.List(
        ma.fields.Nested(IngestionError),
        metadata={"description": "The fields at fault, where fields are"},
    )
