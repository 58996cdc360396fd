"""A device's window in buckets, and the spans in which it was silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow as ma

from fleetwatt.analytics.buckets import SILENCE
from fleetwatt.schemas.fields import (
    Answer,
    NumberArgument,
    Timestamp,
    WholeArgument,
    count,
    in_our_age,
    quantity,
    schema_field,
    window_fields,
)
from fleetwatt.streams import STATISTICS, STREAMS, Stream

DAY = timedelta(days=1)
BUCKETS: dict[str, timedelta | None] = {
    "raw": None,
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": DAY,
}
MOST_POINTS = 10_000


class SpanQuery(ma.Schema):
    """A window, start < time <= end."""

    start = Timestamp(
        validate=in_our_age,
        metadata={
            "description": "Start of the window, exclusive; default 24 hours before its end",
        },
    )
    end = Timestamp(
        validate=in_our_age,
        metadata={
            "description": "End of the window, inclusive; default now",
        },
    )

    @ma.post_load
    def _ordered(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        end = data.get("end") or datetime.now(UTC)
        start = data.get("start") or end - DAY
        if start >= end:
            raise ma.ValidationError("Must come before the window's end.", "start")
        return {**data, "start": start, "end": end}


class SeriesQuery(SpanQuery):
    """A window and how it is cut."""

    bucket = ma.fields.String(
        load_default="1h",
        validate=ma.validate.OneOf(list(BUCKETS)),
        metadata={
            "description": "Length of a bucket, [start, start + length), counted from midnight "
            f"UTC. `raw`: each reading is a bucket of its own, and where more than {SILENCE} of "
            "the device's intervals went without one, an empty bucket stands an interval after "
            f"the last one before. An answer holds at most {MOST_POINTS:,} buckets"
        },
    )


class GapsQuery(SpanQuery):
    """A window and which silence counts; it ends now at the latest."""

    longerThan = NumberArgument(
        validate=ma.validate.Range(0),
        metadata={
            "description": f"Only spans longer than this; default {SILENCE} of the device's "
            "intervals (s)",
            "x-unit": "s",
        },
    )
    limit = WholeArgument(
        load_default=100,
        validate=ma.validate.Range(1, 1000),
        metadata={"description": "Most spans to list"},
    )


def _window(stream: Stream) -> dict[str, Any]:
    return {stream.id.name: schema_field(stream.id, attribute=stream.id.column), **window_fields()}


def _point(stream: Stream) -> dict[str, Any]:
    """Return the fields of a bucket, each with the query's column as its attribute."""
    counter = stream.counter
    fields = {
        "start": Timestamp(
            attribute="start",
            metadata={
                "description": "Start of the bucket; with `raw` the reading's time",
                "example": "2024-02-09T10:00:00Z",
            },
        ),
        counter.name: quantity(
            "Energy of the steps that end in the bucket; null without one",
            counter.unit,
            1.2,
            attribute="energy_kwh",
        ),
        f"last{counter.name[0].upper()}{counter.name[1:]}": quantity(
            f"{counter.description}, {STATISTICS['last']}",
            counter.unit,
            counter.example,
            attribute="last_kwh",
        ),
    }
    for statistic in stream.statistics:
        fields[statistic.name] = quantity(
            f"{statistic.measure.description}, {STATISTICS[statistic.kind]}",
            statistic.measure.unit,
            statistic.measure.example,
            attribute=statistic.column,
        )
    return fields | {
        "readings": count("Readings", 60, attribute="readings"),
        "counterResets": count(
            "Falls of the counter in the steps that end in the bucket", 0, attribute="falls"
        ),
    }


def _listing(name: str, stream: Stream, items: Any, description: str, **more: Any) -> Any:
    fields = {
        **_window(stream),
        **more,
        "items": ma.fields.List(ma.fields.Nested(items), metadata={"description": description}),
    }
    return Answer.from_dict(fields, name=f"{stream.name.title()}{name}")


POINT_SCHEMAS = {
    stream: Answer.from_dict(_point(stream), name=f"{stream.name.title()}Bucket")
    for stream in STREAMS
}
SERIES_SCHEMAS = {
    stream: _listing(
        "Series",
        stream,
        POINT_SCHEMAS[stream],
        "The window's buckets in order, also the empty ones",
        bucket=ma.fields.String(metadata={"description": "Length of a bucket", "example": "1h"}),
    )
    for stream in STREAMS
}


class Gap(Answer):
    """A span without a reading."""

    start = Timestamp(
        metadata={
            "description": "The reading before it, or the window's start",
            "example": "2024-02-09T10:00:00Z",
        }
    )
    end = Timestamp(
        metadata={
            "description": "The reading after it, or the window's end",
            "example": "2024-02-09T10:05:00Z",
        }
    )
    seconds = quantity("Its length", "s", 300.0)
    missingReadings = count(
        "Readings expected in it: its length in intervals of the device, rounded, less the "
        "reading that ends it",
        4,
        attribute="missing_readings",
    )


GAPS_SCHEMAS = {
    stream: _listing("Gaps", stream, Gap, "The spans without a reading, longest first")
    for stream in STREAMS
}
