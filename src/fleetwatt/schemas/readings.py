"""Readings, and what became of them."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas.fields import json_order, schema_field
from fleetwatt.schemas.problems import IngestionError
from fleetwatt.streams import STREAMS, Stream


def _reading_schema(stream: Stream) -> ma.Schema:
    fields = {each.name: schema_field(each, required=True) for each in json_order(stream)}
    return ma.Schema.from_dict(fields, name=f"{stream.name.title()}Reading")()


READING_SCHEMAS = {stream: _reading_schema(stream) for stream in STREAMS}


class IngestionResult(ma.Schema):
    """What became of the readings of a request."""

    accepted = ma.fields.Integer(
        required=True, metadata={"description": "Readings stored now", "example": 1}
    )
    duplicates = ma.fields.Integer(
        required=True,
        metadata={"description": "Readings that were stored before; success", "example": 0},
    )
    rejected = ma.fields.Integer(
        required=True, metadata={"description": "Invalid readings, not stored", "example": 0}
    )
    errors = ma.fields.List(
        ma.fields.Nested(IngestionError),
        required=True,
        metadata={"description": "What is wrong with the rejected ones", "example": []},
    )
