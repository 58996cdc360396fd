"""Devices post their readings here."""

from __future__ import annotations

import sys
import threading
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response, current_app, request

from fleetwatt.database.shared_transaction import WriteResult
from fleetwatt.http import auth
from fleetwatt.http.body import check_plain, encoding_of, received
from fleetwatt.http.openapi import Blueprint, current_database, current_link, documented, raises
from fleetwatt.http.problems import BodyTooLarge, BrokenEncoding, InvalidReadings, UnsupportedMedia
from fleetwatt.ingestion import outcome
from fleetwatt.ingestion.decode import Bounds, Parsed, parse_json, parse_ndjson
from fleetwatt.ingestion.split import MAX_READINGS, items_of, lines_of
from fleetwatt.messaging import store
from fleetwatt.messaging.errors import NoNats
from fleetwatt.messaging.subjects import readings_subject
from fleetwatt.observability import metrics
from fleetwatt.schemas.fields import json_order
from fleetwatt.schemas.readings import (
    READING_SCHEMAS,
    IngestionQuery,
    IngestionResult,
    QueuedResult,
)
from fleetwatt.security.keys import READ
from fleetwatt.streams import MAX_AHEAD, STREAMS, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetwatt.database.client import Database

MAX_BYTES = 10_000_000
# From here on a body waits until no other of the process is decoded: side by side they would share
# the interpreter all the same, and take their memory at once.
LARGE = 1_000_000  # bytes after decompression
_large = threading.Lock()
# Each costs a copy of those that follow.
MAX_MEMBERS = 100
PARSERS = {"application/json": parse_json, "application/x-ndjson": parse_ndjson}

blueprint = Blueprint(
    "ingestion", __name__, url_prefix="/v1/ingestion", description="Devices post readings"
)


def _document(streams: Sequence[Stream]) -> dict[str, Any]:
    schemas = [READING_SCHEMAS[stream] for stream in streams]
    one = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_READINGS}
    examples = [{field.name: field.example for field in json_order(stream)} for stream in streams]
    return {
        "requestBody": {
            "required": True,
            "description": f"One reading, a JSON array of them, or one a line (NDJSON): up to "
            f"{MAX_READINGS:,} readings and {MAX_BYTES:,} bytes after decompression. May be sent "
            "with `Content-Encoding: gzip`.",
            "content": {
                "application/json": {
                    "schema": {"oneOf": [one, many]},
                    "examples": {
                        "one": {"value": examples[0]},
                        "several": {"value": examples},
                    },
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    }


def _route(path: str, name: str, summary: str, streams: Sequence[Stream]) -> None:
    """Register an ingestion route: they differ in the streams that they take alone."""

    @documented(
        blueprint.doc(**_document(streams)),
        blueprint.arguments(IngestionQuery, location="query"),
        blueprint.response(201, IngestionResult, description="Stored"),
        blueprint.alt_response(200, schema=IngestionResult, description="Only duplicates"),
        blueprint.alt_response(
            207, schema=IngestionResult, description="Some readings are invalid; the others stored"
        ),
        blueprint.alt_response(
            202,
            schema=QueuedResult,
            description="With `accept=queued`: the stream has the valid readings; not stored yet",
        ),
        raises(blueprint, 400, 408, 409, 413, 415, 503),
    )
    def post() -> Response:
        query = _query()
        if query.queued:
            return _queue(query, streams)
        database = current_database()
        bounds = Bounds(
            datetime.now(UTC) + MAX_AHEAD,
            {stream: database.oldest_accepted(stream) for stream in streams},
            auth.devices(),
            ignore_unknown=query.ignore_unknown,
        )
        _, parsed = _parsed(streams, bounds)
        if parsed.rejected:
            metrics.rejected(parsed.fields_at_fault, streams)
        return _answer(database, parsed, atomic=query.atomic)

    post.__name__ = name
    post.__doc__ = summary
    blueprint.route(path, methods=["POST"])(post)


for _stream in STREAMS:
    _route(
        f"/{_stream.name}",
        f"post_{_stream.name}",
        f"Store readings of the stream {_stream.name}.\n\n{_stream.description}.",
        (_stream,),
    )
_route(
    "",
    "post_any",
    "Store readings of any stream.\n\nEach goes where its id field says.",
    STREAMS,
)


@dataclass(frozen=True)
class _Query:
    atomic: bool = False
    ignore_unknown: bool = False
    queued: bool = False


def _query() -> _Query:
    ignored = current_app.config["UNKNOWN_FIELDS"] == "ignore"
    if not request.query_string:
        return _Query(ignore_unknown=ignored)
    query = blueprint.ARGUMENTS_PARSER.parse(IngestionQuery, request, location="query")
    if "unknownFields" in query:
        ignored = query["unknownFields"] == "ignore"
    return _Query(
        atomic=query["atomic"], ignore_unknown=ignored, queued=query.get("accept") == "queued"
    )


def _queue(query: _Query, streams: Sequence[Stream]) -> Response:
    """Hand the request's valid readings to the stream; the consumer stores them.

    It asks the database nothing: what only that knows, such as retention, the consumer looks at.
    """
    link = current_link()
    if not link.is_set:
        raise NoNats("accept=queued needs FLEETWATT_NATS_URL, which is not set here")
    beginning = datetime.min.replace(tzinfo=UTC)
    bounds = Bounds(
        datetime.now(UTC) + MAX_AHEAD,
        dict.fromkeys(streams, beginning),
        auth.devices(),
        ignore_unknown=query.ignore_unknown,
    )
    body, parsed = _parsed(streams, bounds)
    if parsed.rejected:
        metrics.rejected(parsed.fields_at_fault, streams)
        if query.atomic or not parsed.valid:
            raise _nothing_stored(parsed, parsed.rejected)
    payload = _only_valid(body, parsed, lines=_parser() is parse_ndjson)
    if len(payload) > store.MAX_BYTES:
        raise BodyTooLarge(f"with accept=queued a request holds up to {store.MAX_BYTES:,} bytes")
    headers = {store.UNKNOWN_FIELDS: "ignore" if query.ignore_unknown else "reject"}
    link.publish(readings_subject(streams), payload, headers)
    result = {
        "queued": parsed.valid,
        "rejected": parsed.rejected,
        "errors": parsed.faults.listed,
        "errorsOmitted": parsed.faults.omitted,
    }
    return Response(msgspec.json.encode(result), 202, content_type="application/json")


def _only_valid(body: bytes, parsed: Parsed, *, lines: bool) -> bytes:
    """Return the valid readings of a body as JSON."""
    if not lines and not parsed.rejected:
        return body
    items = lines_of(body) if lines else items_of(body)
    valid = sorted(chain.from_iterable(parsed.indexes().values()))
    return b"[" + b",".join(bytes(items[index]) for index in valid) + b"]"


def _parser() -> Callable[[bytes, Sequence[Stream], Bounds], Parsed]:
    try:
        return PARSERS[request.mimetype]
    except KeyError:
        raise UnsupportedMedia(
            f"Content-Type is {request.mimetype or 'missing'}; send {' or '.join(PARSERS)}"
        ) from None


def _parsed(streams: Sequence[Stream], bounds: Bounds) -> tuple[bytes, Parsed]:
    """Read the request's body and decode it, without ever holding more than the limit.

    Returns:
        The body after decompression, and its readings.
    """
    parse, unpack, sent = _parser(), _unpacker(), _sent()
    try:
        body = unpack(sent, LARGE)
    except BodyTooLarge:
        with _large:
            body = unpack(sent, MAX_BYTES)
            return body, parse(body, streams, bounds)
    return body, parse(body, streams, bounds)


def _unpacker() -> Callable[[bytes, int], bytes]:
    encoding = encoding_of(request)
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise UnsupportedMedia(f"Content-Encoding is {encoding}; send gzip or none")
    return _plain if encoding == "identity" else _gunzip


def _sent() -> bytes:
    # Before it is read, where it is announced.
    _check_size(request.content_length or 0)
    request.max_content_length = sys.maxsize  # what counts is the size after decompression
    sent = received(request, MAX_BYTES + 1)
    _check_size(len(sent))
    return sent


def _plain(sent: bytes, most: int) -> bytes:
    _check_size(len(sent), most)
    check_plain(sent, "send the header `Content-Encoding: gzip` with it")
    return sent


def _gunzip(sent: bytes, most: int) -> bytes:
    """Decompress gzip's members, of which there may be several (RFC 1952, section 2.2)."""
    pieces: list[bytes] = []
    size = 0
    while len(pieces) < MAX_MEMBERS:
        member = zlib.decompressobj(wbits=31)
        try:
            pieces.append(member.decompress(sent, most + 1 - size))
        except zlib.error as error:
            raise BrokenEncoding(f"the body is not gzip: {error}") from None
        size += len(pieces[-1])
        _check_size(size, most)
        if not member.eof:
            raise BrokenEncoding("the gzip stream is cut short")
        sent = member.unused_data
        if not sent:
            return b"".join(pieces)
    raise BrokenEncoding(f"the gzip stream has more than {MAX_MEMBERS} members")


def _check_size(size: int, most: int = MAX_BYTES) -> None:
    if size > most:
        raise BodyTooLarge(f"a request holds up to {MAX_BYTES:,} bytes after decompression")


def _answer(database: Database, parsed: Parsed, *, atomic: bool) -> Response:
    if parsed.rejected and (atomic or not parsed.valid):
        raise _nothing_stored(parsed, parsed.rejected)
    if atomic and (removed := _removed(database, parsed)):
        raise _nothing_stored(parsed, removed)
    written = database.write(parsed.rows)
    for fault in outcome.faults(parsed, written, show_stored=auth.may(READ)):
        parsed.faults.add(fault)
    rejected = parsed.rejected + len(written.removed)
    if len(written.removed) == parsed.valid:
        raise _nothing_stored(parsed, rejected)
    result = {
        "accepted": written.accepted,
        "duplicates": written.duplicates,
        "conflicts": len(written.conflicts),
        "rejected": rejected,
        "errors": parsed.faults.listed,
        "errorsOmitted": parsed.faults.omitted,
    }
    status = 207 if rejected else 201 if written.accepted else 200
    return Response(msgspec.json.encode(result), status, content_type="application/json")


def _removed(database: Database, parsed: Parsed) -> int:
    """Count the readings that corrections keep out, and list them among the faults."""
    removed = [
        (rows.stream, row["position"] - 1)
        for rows in parsed.rows
        for row in database.query(
            f"{rows.stream.name}.removed",
            ids=[reading[0] for reading in rows.rows],
            times=[reading[1] for reading in rows.rows],
        )
    ]
    for fault in outcome.faults(parsed, WriteResult(0, 0, removed=removed), show_stored=False):
        parsed.faults.add(fault)
    return len(removed)


def _nothing_stored(parsed: Parsed, rejected: int) -> InvalidReadings:
    return InvalidReadings(
        f"{rejected} of {parsed.rejected + parsed.valid} readings are invalid; nothing was stored",
        parsed.faults,
    )
