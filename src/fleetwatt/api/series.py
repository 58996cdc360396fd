"""A device's readings over time: in buckets, and the spans that lack them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable

from fleetwatt.analytics.buckets import SILENCE, filled, parted, touched
from fleetwatt.analytics.energy import rounded
from fleetwatt.api.status import interval_of
from fleetwatt.http import caching
from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.http.problems import TooManyPoints
from fleetwatt.schemas.series import (
    BUCKETS,
    GAPS_SCHEMAS,
    MOST_POINTS,
    POINT_SCHEMAS,
    SERIES_SCHEMAS,
    GapsQuery,
    SeriesQuery,
)
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    columns = {name: str(field.attribute) for name, field in fields.items()}

    @blueprint.route(f"{_path(stream)}/series", endpoint=f"{stream.name}_series")
    @blueprint.arguments(SeriesQuery, location="query")
    @blueprint.response(200, SERIES_SCHEMAS[stream])
    @blueprint.alt_response(
        200,
        schema={
            "type": "string",
            "description": f"A head line, {','.join(columns)}, then a line "
            "a bucket; nothing between two commas is null",
        },
        content_type=CSV,
    )
    @blueprint.doc(summary=f"One {stream.name}'s readings and energy in buckets of time")
    @caching.conditional(blueprint)
    @raises(blueprint, 404, 406, 503)
    def series(query: dict[str, Any], **path: str) -> Response:
        form = _form_asked()
        (device,) = path.values()
        points = _points(stream, device, query["bucket"], query["start"], query["end"])
        values = ([point.get(column) for column in columns.values()] for point in points)
        headers = {"Vary": "Accept"}
        if form == CSV:
            return Response(_csv(list(columns), values), headers=headers, mimetype=CSV)
        answer = {
            stream.id.name: device,
            "windowStart": query["start"],
            "windowEnd": query["end"],
            "bucket": query["bucket"],
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


def _points(
    stream: Stream, device: str, bucket: str, start: datetime, end: datetime
) -> Iterable[Row]:
    """Return the buckets of a window, also the empty ones.

    Raises:
        NotKnown: The device is not registered and has never sent a reading.
        TooManyPoints: They are more than an answer may hold.
    """
    interval = timedelta(seconds=interval_of(stream, device))
    width = BUCKETS[bucket]
    if width and (count := touched(start, end, width)[1]) > MOST_POINTS:
        raise _too_many(f"{count:,}", start, end)
    asked = {"id": device, "start": start, "end": end}
    most = None if width else MOST_POINTS + 1
    rows = current_database().query(f"{stream.name}.series", width=width, most=most, **asked)
    if len(rows) > MOST_POINTS:
        days = current_database().query(
            f"{stream.name}.series", width=BUCKETS["1d"], most=None, **asked
        )
        raise _too_many(f"at least {sum(day['readings'] for day in days):,}", start, end)
    sums = [
        "energy_kwh",
        *(statistic.column for statistic in stream.statistics if statistic.kind == "avg"),
    ]
    for row in rows:
        row.update({column: rounded(row[column]) for column in sums})
    points = list(filled(rows, start, end, width) if width else parted(rows, start, end, interval))
    if len(points) > MOST_POINTS:
        raise _too_many(f"{len(points):,}", start, end)
    return points


def _too_many(points: str, start: datetime, end: datetime) -> TooManyPoints:
    widths = {name: width for name, width in BUCKETS.items() if width}
    fitting = (name for name in widths if touched(start, end, widths[name])[1] <= MOST_POINTS)
    advice = next((f"bucket={name} would fit" for name in fitting), "ask for a shorter window")
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
    for number, (start, *values) in enumerate(lines, 1):
        writer.writerow([rfc3339(start), *values])
        if number % LINES_A_CHUNK == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()
