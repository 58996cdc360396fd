"""From a request's bytes to rows of each stream, or to errors with an index and a field.

msgspec decodes and validates; what it refuses is explained, field by field, by the marshmallow
schemas that document the routes. Both derive from `streams`, and a test shows that they agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from fleetwatt.schemas.readings import READING_SCHEMAS
from fleetwatt.streams import ID_PATTERN, TIMESTAMP, Field, Rows, Stream

MAX_READINGS = 10_000
MAX_AHEAD = timedelta(minutes=5)


class NotJson(Exception):
    """The body is not JSON."""


class NoReading(Exception):
    """The body is JSON without a reading in it."""


class TooManyReadings(Exception):
    """The body holds more than 10,000 readings."""


@dataclass(frozen=True)
class ReadingError:
    """What is wrong with a reading; without an index, an argument; without a field, all of it."""

    index: int | None
    field: str | None
    message: str


@dataclass(frozen=True)
class Parsed:
    """The valid readings of a request by stream, and what is wrong with the others."""

    rows: list[Rows]
    rejected: int
    errors: list[ReadingError]

    @property
    def valid(self) -> int:
        return sum(map(len, self.rows))


def _annotation(field: Field) -> Any:
    match field.sql_type:
        case "text":
            return Annotated[str, msgspec.Meta(pattern=rf"^{ID_PATTERN}\Z")]
        case "timestamptz":
            return Annotated[datetime, msgspec.Meta(tz=True)]
        case _:
            return Annotated[float, msgspec.Meta(ge=field.minimum, le=field.maximum)]


class _Decoder:
    """The decoders of one stream, one reading and an array."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        struct = msgspec.defstruct(
            f"{stream.name.title()}Reading",
            [(each.column, _annotation(each)) for each in stream.fields],
            rename={each.column: each.name for each in stream.fields},
            forbid_unknown_fields=True,
            gc=False,
        )
        self.row = attrgetter(*stream.columns)
        self.one = msgspec.json.Decoder(struct)
        self.many = msgspec.json.Decoder(list[struct])  # type: ignore[valid-type]
        # Seen anywhere in the bytes it is a hint which stream to try first, no more.
        self.hint = f'"{stream.id.name}"'.encode()

    def columns(self, structs: Sequence[Any]) -> list[list[Any]]:
        return [list(map(attrgetter(column), structs)) for column in self.stream.columns]


def _utc(time: datetime) -> datetime:
    """Convert to UTC: PostgreSQL knows no offset of 16 hours and more, RFC 3339 does."""
    return time if time.tzinfo is UTC else time.astimezone(UTC)


_DECODERS = {stream: _Decoder(stream) for stream in READING_SCHEMAS}
_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class Clock:
    """Between which times a timestamp may lie: not before `oldest`, not after `newest`."""

    newest: datetime
    oldest: Mapping[Stream, datetime]

    def refusal(self, stream: Stream, time: datetime) -> str | None:
        """Say why a timestamp is refused, or None."""
        if time > self.newest:
            return "is more than 5 minutes ahead of the server's clock"
        if time < self.oldest[stream]:
            return "is older than the raw history that is kept, and would be dropped unseen"
        return None


def parse_json(body: bytes, streams: Sequence[Stream], clock: Clock) -> Parsed:
    """Parse one reading or a JSON array of readings.

    Args:
        body: The request's body.
        streams: Which streams may occur; with several, a reading's id field says which it is of.
        clock: Which timestamps are accepted.

    Raises:
        NotJson: The body is not JSON.
        NoReading: The body is JSON without a reading in it.
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    start = body.lstrip()[:1]
    if start == b"[" and len(streams) == 1 and (parsed := _all_valid(body, streams[0], clock)):
        return parsed
    try:
        items = _RAW_ITEMS.decode(body) if start == b"[" else [_RAW.decode(body)]
        # What is skipped above may still hold broken UTF-8.
        with suppress(msgspec.ValidationError):  # a number beyond a double, which is JSON still
            msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None
    if start not in {b"[", b"{"}:
        raise NoReading
    return _each(items, streams, clock)


def parse_ndjson(body: bytes, streams: Sequence[Stream], clock: Clock) -> Parsed:
    """Parse a reading a line; blank lines count for nothing, an index counts the others from 0.

    Raises:
        NoReading: There is no line.
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    return _each([line for line in body.split(b"\n") if line.strip()], streams, clock)


def _all_valid(body: bytes, stream: Stream, clock: Clock) -> Parsed | None:
    """Parse an array in one go, or None where anything in it needs a closer look."""
    decoder = _DECODERS[stream]
    try:
        structs = decoder.many.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    _check_count(structs)
    rows = Rows(stream, decoder.columns(structs))
    if max(rows.times) > clock.newest or min(rows.times) < clock.oldest[stream]:
        return None
    rows.columns[1] = list(map(_utc, rows.times))
    return Parsed([rows], 0, [])


def _check_count(items: Sequence[Any]) -> None:
    if not items:
        raise NoReading
    if len(items) > MAX_READINGS:
        raise TooManyReadings(f"{len(items)} readings; a request holds up to {MAX_READINGS}")


def _each(items: Sequence[bytes | msgspec.Raw], streams: Sequence[Stream], clock: Clock) -> Parsed:
    _check_count(items)
    rows = {stream: Rows(stream) for stream in streams}
    errors: list[ReadingError] = []
    rejected = 0
    for index, item in enumerate(items):
        stream, row = _decode(item, streams)
        if stream is None:
            problems = list(_explain(item, streams))
        elif refusal := clock.refusal(stream, row[1]):
            problems = [(TIMESTAMP.name, refusal)]
        else:
            device, time, *measures = row
            rows[stream].append((device, _utc(time), *measures))
            continue
        rejected += 1
        errors += [ReadingError(index, field, message) for field, message in problems]
    return Parsed([each for each in rows.values() if len(each)], rejected, errors)


def _decode(
    item: bytes | msgspec.Raw, streams: Iterable[Stream]
) -> tuple[Stream, tuple[Any, ...]] | tuple[None, tuple[()]]:
    """Decode a reading of any of the streams, the likeliest first."""
    content = bytes(item)
    for stream in sorted(streams, key=lambda each: _DECODERS[each].hint not in content):
        try:
            struct = _DECODERS[stream].one.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        return stream, _DECODERS[stream].row(struct)
    return None, ()


def _explain(
    item: bytes | msgspec.Raw, streams: Sequence[Stream]
) -> Iterator[tuple[str | None, str]]:
    """Say field by field what is wrong with a reading that the decoder refused."""
    try:
        reading = {name: _value(raw) for name, raw in _RAW_FIELDS.decode(bytes(item)).items()}
    except msgspec.ValidationError:
        yield None, "is not a JSON object"
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield None, f"is not JSON: {error}"
        return
    named = [stream for stream in streams if stream.id.name in reading] or list(streams)
    if len(named) > 1:
        ids = ", ".join(stream.id.name for stream in streams)
        yield None, f"must have exactly one of the fields {ids}"
        return
    for field, messages in READING_SCHEMAS[named[0]].validate(reading).items():
        for message in messages:
            yield field, message


def _value(raw: msgspec.Raw) -> Any:
    """Decode a field's value; infinity, which no field may be, for a number beyond a double."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return math.inf
