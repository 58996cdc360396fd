"""Readings, and what became of them."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.config import UNKNOWN_FIELDS
from fleetwatt.faults import MAX_FAULTS
from fleetwatt.schemas.fields import Answer, Choice, Flag, count, json_order, reading_field
from fleetwatt.schemas.problems import FieldError
from fleetwatt.streams import STREAMS, Stream


def _reading_schema(stream: Stream) -> ma.Schema:
    fields = {field.name: reading_field(field) for field in json_order(stream)}
    return ma.Schema.from_dict(fields, name=f"{stream.name.title()}Reading")()


READING_SCHEMAS = {stream: _reading_schema(stream) for stream in STREAMS}


class IngestionQuery(ma.Schema):
    """How a request with invalid readings is treated."""

    atomic = Flag(
        numbers=True,
        load_default=False,
        metadata={"description": "`true`: store all readings or none"},
    )
    unknownFields = ma.fields.String(
        validate=Choice("UnknownFields", UNKNOWN_FIELDS),
        metadata={
            "description": "What happens to a reading with a field that its stream does not have: "
            "`reject` the reading, or `ignore` the field; default as the service is set"
        },
    )

    accept = ma.fields.String(
        validate=Choice("Accept", ("queued",)),
        metadata={
            "description": "`queued`: answer 202 once the stream has the readings, before they are "
            "stored; needs `FLEETWATT_NATS_URL`"
        },
    )


class QueuedResult(Answer):
    """What became of the readings of a request with `accept=queued`."""

    queued = count("Valid readings that the stream has; they are stored later", 1)
    rejected = count("Invalid readings; not queued", 0)
    errors = ma.fields.List(
        ma.fields.Nested(FieldError),
        metadata={
            "description": f"What is wrong with the rejected ones, up to {MAX_FAULTS}",
            "example": [],
        },
    )
    errorsOmitted = count("Errors that `errors` does not list", 0)


class IngestionResult(Answer):
    """What became of the readings of a request."""

    accepted = count("Readings stored now", 1)
    duplicates = count("Readings that were stored before, with the same values; success", 0)
    conflicts = count(
        "Readings of which other values are stored under their id and time; what is stored stays", 0
    )
    rejected = count("Invalid readings, and such that a correction has removed; not stored", 0)
    errors = ma.fields.List(
        ma.fields.Nested(FieldError),
        metadata={
            "description": f"What is wrong with the rejected ones, up to {MAX_FAULTS}, and which "
            "fields of conflicts differ; a key with the scope `read` gets the stored values",
            "example": [],
        },
    )
    errorsOmitted = count("Errors that `errors` does not list", 0)
