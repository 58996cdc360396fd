"""What is stored and what the database does with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import marshmallow as ma

from fleetwatt.lifecycle.findings import Level
from fleetwatt.schemas.fields import Answer, Choice, Number, Timestamp, count, optional, quantity
from fleetwatt.streams import METER


class _Seconds(Number):
    """A duration, written in seconds."""

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        return value.total_seconds() if isinstance(value, timedelta) else None


def _text(description: str, example: str, **kwargs: Any) -> ma.fields.String:
    return ma.fields.String(metadata={"description": description, "example": example}, **kwargs)


def _number(description: str, example: float, attribute: str) -> Any:
    return quantity(description, "", example, _attributed(attribute))


def _seconds(description: str, example: float, attribute: str) -> Any:
    return quantity(description, "s", example, _attributed(attribute, _Seconds))


def _attributed(attribute: str, field: type[Number] = Number) -> Any:
    return lambda **kwargs: field(attribute=attribute, **kwargs)


class StoredTable(Answer):
    """What a history table or an aggregate holds and costs."""

    table = _text("The table", METER.history, attribute="table_name")
    kind = ma.fields.String(
        validate=Choice("TableKind", ["history", "aggregate"]),
        metadata={"description": "`history` of raw readings or `aggregate`", "example": "history"},
    )
    rows = count("Readings, or hours of a device, by the database's estimate", 14_400_000)
    chunks = count("Chunks", 30)
    compressedChunks = count("Chunks that are columnstore", 23, attribute="compressed_chunks")
    chunkInterval = _seconds("Time that a new chunk holds", 86_400, "chunk_interval")
    bytes = count("Size on disk with indexes, in bytes", 734_003_200)
    bytesUncompressed = count(
        "Size that it would have without compression, in bytes",
        1_509_949_440,
        attribute="bytes_uncompressed",
    )
    indexBytes = count("Size of its indexes, in bytes", 241_172_480, attribute="index_bytes")
    bytesPerRow = _number("Bytes a row", 12.9, "bytes_a_row")
    bytesPerRowUncompressed = _number(
        "Bytes a row without compression", 104.9, "bytes_a_row_uncompressed"
    )
    rowsPerDay = _number("Rows a day, over the last week's whole chunks", 14_400_000, "rows_a_day")
    bytesPerDay = _number(
        "Bytes a day, over the last week's whole chunks", 1_509_949_440, "bytes_a_day"
    )
    oldest = optional(
        Timestamp, "Time of the oldest reading or hour", example="2024-01-10T00:00:00Z"
    )
    newest = optional(
        Timestamp, "Time of the newest reading or hour", example="2024-02-09T10:00:00Z"
    )


class StoredPolicy(Answer):
    """What a policy does with a table, and how it went."""

    table = _text("The table", METER.history, attribute="table_name")
    kind = ma.fields.String(
        validate=Choice("PolicyKind", ["retention", "compression", "refresh"]),
        metadata={"description": "What kind of policy", "example": "retention"},
    )
    does = _text("What it does, in words", "drop chunks older than 90d, refreshed first")
    after = _seconds("Age from which chunks are dropped or compressed", 7_776_000, "after")
    refreshFrom = _seconds("Age back to which hours are refreshed", 7_689_600, "start_offset")
    refreshTo = _seconds("Age from which hours are refreshed", 3_600, "end_offset")
    jobId = optional(
        ma.fields.Integer, "TimescaleDB's job that does it", attribute="job_id", example=1002
    )
    every = _seconds("Time between two runs; null: none is scheduled", 3_600, "every")
    lastRun = optional(
        Timestamp,
        "When it ran last, as far as TimescaleDB recorded it",
        attribute="last_run",
        example="2024-02-09T10:00:00Z",
    )
    lastStatus = optional(
        ma.fields.String, "How that went", attribute="last_status", example="Success"
    )
    lastError = optional(
        ma.fields.String,
        "What it failed with, where it did",
        attribute="last_error",
        example="out of memory",
    )
    nextRun = optional(
        Timestamp, "When it runs next", attribute="next_run", example="2024-02-09T11:00:00Z"
    )


class StorageWarning(Answer):
    """A rule of the policies that does not hold."""

    rule = _text("The rule", "refresh-inside-raw")
    table = _text("Where", METER.hourly)
    message = _text("What is wrong and what would be right", "the refresh reaches too far back")


class Storage(Answer):
    """What is stored, what it costs, and what will be dropped and when."""

    edition = ma.fields.String(
        validate=Choice("Edition", ["timescale", "apache"]),
        metadata={"description": "TimescaleDB's edition", "example": "timescale"},
    )
    version = _text("TimescaleDB's version", "2.29.2")
    postgresql = _text("PostgreSQL's version", "17.5")
    tables = ma.fields.List(
        ma.fields.Nested(StoredTable), metadata={"description": "History and aggregates"}
    )
    policies = ma.fields.List(
        ma.fields.Nested(StoredPolicy),
        metadata={"description": "What the database's policies do"},
    )
    warnings = ma.fields.List(
        ma.fields.Nested(StorageWarning), metadata={"description": "Rules that do not hold"}
    )


class Finding(Answer):
    """What was looked at, how it is, and what to do where it isn't well."""

    check = _text("What was looked at", "jobs")
    level = ma.fields.String(
        validate=Choice("FindingLevel", get_args(Level)),
        metadata={"description": "How it is; `unknown`: it can't be seen", "example": "ok"},
    )
    says = _text("What was found", "none failed, none is overdue")
    advice = _text("What to do; empty where nothing is", "run `fleetwatt db upgrade`")


class Examination(Answer):
    """What `fleetwatt doctor` finds."""

    examinedAt = Timestamp(
        attribute="examined_at",
        metadata={
            "description": "When the findings were made; they are used again for 10 s",
            "example": "2024-02-09T10:00:00Z",
        },
    )
    items = ma.fields.List(
        ma.fields.Nested(Finding), metadata={"description": "At least one for each check"}
    )
