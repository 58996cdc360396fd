"""Readings, and what became of them."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas.fields import Answer, count, json_order, reading_field
from fleetwatt.schemas.problems import FieldError
from fleetwatt.streams import STREAMS, Stream


def _reading_schema(stream: Stream) -> ma.Schema:
    fields = {field.name: reading_field(field) for field in json_order(stream)}
    return ma.Schema.from_dict(fields, name=f"{stream.name.title()}Reading")()


READING_SCHEMAS = {stream: _reading_schema(stream) for stream in STREAMS}


class IngestionResult(Answer):
    """What became of the readings of a request."""

    accepted = count("Readings stored now", 1)
    duplicates = count("Readings that were stored before; success", 0)
    rejected = count("Invalid readings, not stored", 0)
    errors = ma.fields.List(
        ma.fields.Nested(FieldError),
        metadata={"description": "What is wrong with the rejected ones", "example": []},
    )
