"""A device's readings over time: in buckets, and the spans that lack them."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable

from fleetwatt import calendar
from fleetwatt.analytics import series as analytics
from fleetwatt.analytics.buckets import SILENCE, parted
from fleetwatt.api.status import interval_of
from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import TooManyPoints
from fleetwatt.schemas.series import (
    GAPS_SCHEMAS,
    MOST_POINTS,
    POINT_SCHEMAS,
    RAW,
    SERIES_SCHEMAS,
    GapsQuery,
    SeriesQuery,
)
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from zoneinfo import ZoneInfo

    from fleetwatt.database.pool import Row

JSON, CSV = "application/json", "text/csv"
LINES_A_CHUNK = 500

blueprint = Blueprint(
    "series", __name__, url_prefix="/v1/analytics", description="Readings in time"
)


def _path(stream: Stream) -> str:
    return f"/{stream.plural}/<device_id:{stream.id.name}>"


def _series_route(stream: Stream) -> None:
    fields = POINT_SCHEMAS[stream]().fields
    of_raw = {name: str(field.attribute) for name, field in fields.items()}
    of_buckets = {name: column for name, column in of_raw.items() if name != "ignored"}

    @blueprint.route(f"{_path(stream)}/series", endpoint=f"{stream.name}_series")
    @blueprint.arguments(SeriesQuery, location="query")
    @blueprint.response(200, SERIES_SCHEMAS[stream])
    @blueprint.alt_response(
        200,
        schema={
            "type": "string",
            "description": f"A head line, {','.join(of_buckets)}, with `bucket=raw` and "
            "ignored, then a line an item; nothing between two commas is null",
        },
        content_type=CSV,
    )
    @blueprint.doc(summary=f"One {stream.name}'s readings and energy in buckets of time")
    @caching.conditional(blueprint)
    @raises(blueprint, 404, 406, 503)
    def series(query: dict[str, Any], **path: str) -> Response:
        form = _form_asked()
        (device,) = path.values()
        items = _readings if query["bucket"] == RAW else _buckets
        points, warnings = items(stream, device, query)
        columns = of_raw if query["bucket"] == RAW else of_buckets
        values = ([point.get(column) for column in columns.values()] for point in points)
        headers = {"Vary": "Accept"}
        if form == CSV:
            return Response(_csv(list(columns), values), headers=headers, mimetype=CSV)
        answer = {
            stream.id.name: device,
            "windowStart": query["start"],
            "windowEnd": query["end"],
            "bucket": query["bucket"],
            "warnings": warnings,
            "items": [dict(zip(columns, point_values, strict=True)) for point_values in values],
        }
        return Response(msgspec.json.encode(answer), headers=headers, mimetype=JSON)


def _gaps_route(stream: Stream) -> None:
    @blueprint.route(f"{_path(stream)}/gaps", endpoint=f"{stream.name}_gaps")
    @blueprint.arguments(GapsQuery, location="query")
    @blueprint.response(200, GAPS_SCHEMAS[stream])
    @blueprint.doc(summary=f"When one {stream.name} was silent, longest first")
    @caching.conditional(blueprint)
    @raises(blueprint, 404, 503)
    def gaps(query: dict[str, Any], **path: str) -> dict[str, Any]:
        (device,) = path.values()
        interval = interval_of(stream, device)
        start = query["start"]
        # What lies ahead is not silence yet.
        end = max(start, min(query["end"], datetime.now(UTC)))
        found = current_database().query(
            f"{stream.name}.gaps",
            id=device,
            start=start,
            end=end,
            longer_than=query.get("longerThan", SILENCE * interval),
            limit=query["limit"],
        )
        for gap in found:
            gap["missing_readings"] = max(round(gap["seconds"] / interval) - gap["heard"], 0)
        return {
            stream.id.column: device,
            "window_start": start,
            "window_end": end,
            "items": found,
        }


for _stream in STREAMS:
    _series_route(_stream)
    _gaps_route(_stream)


def _buckets(stream: Stream, device: str, query: dict[str, Any]) -> tuple[Iterable[Row], list[str]]:
    """Return the buckets of a window, also the empty ones, and the warnings.

    Raises:
        NotKnown: The device has never sent a reading, nor is it registered.
        TooManyPoints: They are more than an answer may hold.
    """
    interval_of(stream, device)
    start, end, bucket = query["start"], query["end"], query["bucket"]
    if (count := _count(start, end, bucket, query["tz"])) > MOST_POINTS:
        raise _too_many(f"{count:,}", query)
    bounds = calendar.bounds(start, end, bucket, query["tz"])
    rows, warnings = analytics.buckets(
        current_database(), stream, device, [start, *bounds[1:-1], end]
    )
    # A bucket counts what of it lies in the window, and says where it begins and ends itself.
    points = [
        {**row, "start": begin, "end": following, "ignored_readings": row["ignored"]}
        for row, (begin, following) in zip(rows, pairwise(bounds), strict=True)
    ]
    return points, warnings


def _readings(
    stream: Stream, device: str, query: dict[str, Any]
) -> tuple[Iterable[Row], list[str]]:
    """Return the readings of a window, empty items where there was silence, and the warnings.

    Raises:
        NotKnown: The device has never sent a reading, nor is it registered.
        TooManyPoints: They are more than an answer may hold.
    """
    interval = timedelta(seconds=interval_of(stream, device))
    window = query["start"], query["end"]
    database = current_database()
    rows, warnings = analytics.readings(database, stream, device, window, MOST_POINTS + 1)
    if len(rows) > MOST_POINTS:
        ((whole,), _) = analytics.buckets(database, stream, device, window)
        raise _too_many(f"at least {whole['readings']:,}", query)
    readings = [{**row, "ignored_readings": int(row["ignored"])} for row in rows]
    points = list(parted(readings, *window, interval))
    if len(points) > MOST_POINTS:
        raise _too_many(f"{len(points):,}", query)
    return points, warnings


def _count(start: datetime, end: datetime, bucket: str, local: ZoneInfo) -> int:
    """Return how many buckets a window touches, give or take one where a clock jumps."""
    return math.ceil((end - calendar.begin(start, bucket, local)) / calendar.USUAL[bucket])


def _too_many(points: str, query: dict[str, Any]) -> TooManyPoints:
    window = query["start"], query["end"]
    fitting = (
        bucket for bucket in calendar.USUAL if _count(*window, bucket, query["tz"]) <= MOST_POINTS
    )
    advice = next((f"bucket={bucket} would fit" for bucket in fitting), "ask for a shorter window")
    return TooManyPoints(
        "bucket", f"It would be {points} points, of {MOST_POINTS:,} at most: {advice}."
    )


def _form_asked() -> str:
    # Whatever parameters a client adds, as our own charset: there is one form of each.
    accepted = MIMEAccept(
        [(kind.partition(";")[0].strip(), weight) for kind, weight in request.accept_mimetypes]
    )
    form = accepted.best_match((JSON, CSV)) if accepted else JSON
    if form is None:
        raise NotAcceptable(f"Accept has to allow {JSON} or {CSV}.")
    return form


def _csv(names: Sequence[str], lines: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Write a table piece by piece."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for number, line in enumerate(lines, 1):
        writer.writerow([_cell(value) for value in line])
        if number % LINES_A_CHUNK == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    # As JSON writes it.
    return str(value).lower() if isinstance(value, bool) else value
