"""A device's window in buckets, and the spans in which it was silent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import marshmallow as ma

from fleetwatt import calendar
from fleetwatt.analytics.buckets import SILENCE
from fleetwatt.schemas.analytics import warnings_field
from fleetwatt.schemas.fields import (
    Answer,
    Choice,
    NumberArgument,
    Timestamp,
    WholeArgument,
    between,
    bucket_fields,
    count,
    quantity,
    schema_field,
    window_fields,
)
from fleetwatt.schemas.windows import WindowQuery, zone_argument
from fleetwatt.streams import STATISTICS, STREAMS, Stream

RAW = "raw"
BUCKETS = (RAW, *calendar.USUAL)
MOST_POINTS = 10_000


class SeriesQuery(WindowQuery):
    """A window and how it is cut."""

    bucket = ma.fields.String(
        load_default="1h",
        validate=Choice("BucketWidth", BUCKETS),
        metadata={
            "description": "Length of a bucket of the zone's clock and calendar, its start "
            "included, its end not; weeks start on Monday. `raw`: each reading is an item of its "
            f"own, and where more than {SILENCE} intervals of the device went without one, an "
            "empty item stands an interval after the last one before. An answer holds at most "
            f"{MOST_POINTS:,} items"
        },
    )
    tz = zone_argument("its hours, days, weeks and months are the buckets")

    def window(self, data: dict[str, Any]) -> tuple[datetime, datetime]:
        """Return the start and the end of the window that is asked for."""
        data.setdefault("tz", calendar.zone("UTC"))
        return super().window(data)


class GapsQuery(WindowQuery):
    """A window and which silence counts; it ends now at the latest."""

    longerThan = NumberArgument(
        validate=between(0),
        metadata={
            "description": f"Only spans longer than this; default {SILENCE} of the device's "
            "intervals (s)",
            "x-unit": "s",
        },
    )
    limit = WholeArgument(
        load_default=100,
        validate=between(1, 1000),
        metadata={"description": "Most spans to list"},
    )


def _window(stream: Stream) -> dict[str, Any]:
    return {stream.id.name: schema_field(stream.id, attribute=stream.id.column), **window_fields()}


def _point(stream: Stream) -> dict[str, Any]:
    """Return the fields of a bucket, each with the query's column as its attribute."""
    counter = stream.counter
    fields = {
        **bucket_fields(),
        counter.name: quantity(
            "Energy in the bucket; null where not known. With `raw` the rise since the reading "
            "before, 0 at a reset, null for the first reading and for one that is ignored",
            counter.unit,
            1.2,
            attribute="energy_kwh",
        ),
        f"last{counter.name[0].upper()}{counter.name[1:]}": quantity(
            f"{counter.description}, at the last reading that is not ignored; with `raw` at the "
            "reading",
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
        "counterResets": count("Resets of the register", 0, attribute="resets"),
        "ignoredReadings": count("Readings of glitches, ignored", 0, attribute="ignored_readings"),
        "ignored": ma.fields.Boolean(
            attribute="ignored",
            metadata={
                "description": "Whether the reading is one of a glitch; with `raw` alone",
                "example": False,
            },
        ),
    }


def _listing(name: str, stream: Stream, items: Any, description: str, **more: Any) -> Any:
    fields = {
        **_window(stream),
        **more,
        "items": ma.fields.List(ma.fields.Nested(items), metadata={"description": description}),
    }
    return Answer.from_dict(fields, name=f"{stream.name.title()}{name}")


class _Point(Answer):
    sometimes = frozenset({"ignored"})


POINT_SCHEMAS = {
    stream: _Point.from_dict(_point(stream), name=f"{stream.name.title()}Bucket")
    for stream in STREAMS
}
SERIES_SCHEMAS = {
    stream: _listing(
        "Series",
        stream,
        POINT_SCHEMAS[stream],
        "The window's buckets in order, also the empty ones",
        bucket=ma.fields.String(metadata={"description": "Length of a bucket", "example": "1h"}),
        warnings=warnings_field(),
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
