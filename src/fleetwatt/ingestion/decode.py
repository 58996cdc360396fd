"""From a request's bytes to rows of each stream, or to errors with an index and a field.

msgspec decodes and validates; `explaining` says what is wrong with what it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec

from fleetwatt.ingestion.explain import check_strings, explain, why_not_json
from fleetwatt.streams import ID_PATTERN, MAX_AHEAD, STREAMS, TIMESTAMP, Field, Rows, Stream

MAX_READINGS = 10_000


class NotJson(Exception):
    """The body is not JSON."""


class NoReading(Exception):
    """The body is JSON without a reading in it."""


class TooManyReadings(Exception):
    """The body holds more than 10,000 readings."""


@dataclass(frozen=True)
class Fault:
    """What is wrong; `index` is None for an argument, `field` where all of it is wrong."""

    index: int | None
    field: str | None
    message: str


@dataclass(frozen=True)
class Parsed:
    """The valid readings of a request by stream, and what is wrong with the others."""

    rows: list[Rows]
    rejected: int
    errors: list[Fault]

    @property
    def valid(self) -> int:
        return sum(map(len, self.rows))

    @property
    def fields_at_fault(self) -> list[str | None]:
        """The field of each invalid reading, the first where there are several; None: all of it."""
        return list({error.index: error.field for error in reversed(self.errors)}.values())


def _annotation(field: Field) -> Any:
    match field.sql_type:
        case "text":
            # msgspec would take twice as long for the pattern as for all the rest.
            return str
        case "timestamptz":
            return Annotated[datetime, msgspec.Meta(tz=True)]
        case _:
            number = Annotated[float, msgspec.Meta(ge=field.minimum, le=field.maximum)]
            return number | None if field.nullable else number


def _strictest(field: Field, other: Field) -> Field:
    """Return a rule that holds only where those of two streams' fields of one name do."""
    minima = [bound for bound in (field.minimum, other.minimum) if bound is not None]
    maxima = [bound for bound in (field.maximum, other.maximum) if bound is not None]
    return replace(
        field,
        minimum=max(minima, default=None),
        maximum=min(maxima, default=None),
        nullable=field.nullable and other.nullable,
    )


def _struct(streams: Sequence[Stream]) -> type[msgspec.Struct]:
    """Return what a reading decodes to; where it may be of several streams, all may be missing.

    What a field of several streams may not hold by this is looked at again by its own stream's.
    """
    fields: dict[str, Field] = {}
    for field in (field for stream in streams for field in stream.fields):
        known = fields.get(field.column, field)
        fields[field.column] = field if known == field else _strictest(known, field)
    kinds: list[Any] = [
        (column, _annotation(field) | msgspec.UnsetType, msgspec.UNSET)
        if field.optional or len(streams) > 1
        else (column, _annotation(field))
        for column, field in fields.items()
    ]
    return msgspec.defstruct(
        "Reading",
        kinds,
        kw_only=True,  # for the order of fields that may be missing
        rename={column: field.name for column, field in fields.items()},
        forbid_unknown_fields=True,
        gc=False,
    )


class _Decoder:
    """Decodes valid readings of one stream or of several, one reading or an array."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        struct = _struct(streams)
        self.one = msgspec.json.Decoder(struct)
        self.many = msgspec.json.Decoder(list[struct])  # type: ignore[valid-type]
        self.id = {stream: attrgetter(stream.id.column) for stream in streams}
        self.row = {stream: attrgetter(*stream.columns) for stream in streams}
        self.required = {
            stream: itemgetter(
                *(place for place, field in enumerate(stream.fields) if not field.optional)
            )
            for stream in streams
        }

    def rows(self, structs: Sequence[Any]) -> list[Rows]:
        """Sort readings out by stream; a reading that lacks a required field is left out.

        What it lacks otherwise is UNSET in its row.
        """
        if len(self.row) == 1:
            return [Rows(stream, list(map(row, structs))) for stream, row in self.row.items()]
        found = []
        rest = structs
        for stream, row in self.row.items():
            device = self.id[stream]
            rows = [row(reading) for reading in rest if device(reading) is not msgspec.UNSET]
            # What is of two streams must not count twice: it would make up for one of none.
            rest = [reading for reading in rest if device(reading) is msgspec.UNSET]
            required = self.required[stream]
            complete = (
                [row for row in rows if msgspec.UNSET not in required(row)]
                if stream.optional
                else [row for row in rows if msgspec.UNSET not in row]
            )
            found.append(Rows(stream, complete))
        return [rows for rows in found if len(rows)]


def _quotes(stream: Stream) -> int:
    """Count the quotation marks of a whole valid reading: no string in it may hold one.

    JSON's names may occur twice, and decoders take the last. More quotation marks than these are
    how a reading with a repeated field shows, at the cost of one look through the bytes.
    """
    return 2 * len(stream.fields) + 2 * sum(
        field.sql_type in {"text", "timestamptz"} for field in stream.fields
    )


def _known_quotes(rows: Rows) -> int:
    """Count the quotation marks of rows whose readings repeat no field."""
    left_out = sum(row.count(msgspec.UNSET) for row in rows.rows) if rows.stream.optional else 0
    return len(rows) * _QUOTES[rows.stream] - 2 * left_out


def _without_unset(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with None for what its reading left out."""
    return tuple(None if value is msgspec.UNSET else value for value in row)


def _in_utc(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the time to UTC: PostgreSQL knows no offset of 16 hours and more, RFC 3339 does."""
    return (row[0], row[1].astimezone(UTC), *row[2:])


_is_id = re.compile(ID_PATTERN).fullmatch
_is_list_of_ids = re.compile(f"{ID_PATTERN}(?:,{ID_PATTERN})*").fullmatch
_ONE = {stream: _Decoder([stream]) for stream in STREAMS}
_ANY = _Decoder(STREAMS)
_QUOTES = {stream: _quotes(stream) for stream in STREAMS}
_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class Bounds:
    """What a reading may be of at this time and in this request.

    Attributes:
        newest: The latest timestamp that is accepted.
        oldest: The earliest one of each stream.
        devices: The only devices; None: any.
    """

    newest: datetime
    oldest: Mapping[Stream, datetime]
    devices: frozenset[str] | None = None

    def refusal(self, stream: Stream, device: str, time: datetime) -> tuple[str, str] | None:
        """Name the field for which a reading is refused and say why, or None."""
        if self.devices is not None and device not in self.devices:
            return stream.id.name, "Not one of the devices that the API key may write for."
        if time > self.newest:
            minutes = MAX_AHEAD.seconds // 60
            return TIMESTAMP.name, f"More than {minutes} minutes ahead of the server's clock."
        if time < self.oldest[stream]:
            return (
                TIMESTAMP.name,
                "Older than the raw history that is kept: it would be dropped unseen.",
            )
        return None


def parse_json(body: bytes, streams: Sequence[Stream], bounds: Bounds) -> Parsed:
    """Parse one reading or a JSON array of readings.

    Args:
        body: The request's body.
        streams: Which streams may occur; with several, a reading's id field says which it is of.
        bounds: Which timestamps and devices are accepted.

    Raises:
        NotJson: The body is not JSON.
        NoReading: The body is JSON without a reading in it.
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    start = body.lstrip()[:1]
    if parsed := _all_valid(body, array=start == b"[", streams=streams, bounds=bounds):
        return parsed
    return _json_one_by_one(body, streams, bounds)


def _json_one_by_one(body: bytes, streams: Sequence[Stream], bounds: Bounds) -> Parsed:
    start = body.lstrip()[:1]
    try:
        items = _RAW_ITEMS.decode(body) if start == b"[" else [_RAW.decode(body)]
        check_strings(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(why_not_json(body) or str(error)) from None
    if start not in {b"[", b"{"}:
        raise NoReading
    return _each(items, streams, bounds)


def parse_ndjson(body: bytes, streams: Sequence[Stream], bounds: Bounds) -> Parsed:
    """Parse a reading a line; blank lines count for nothing, an index counts the others from 0.

    Raises:
        NoReading: There is no line.
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    lines = _lines(body)
    # Parts of readings on two lines could make whole ones in an array: each starts on its line.
    if all(line.startswith(b"{") and line.count(b"{") == 1 for line in lines):
        array = b"[" + b",".join(lines) + b"]"
        if parsed := _all_valid(array, array=True, streams=streams, bounds=bounds):
            return parsed
    return _each(lines, streams, bounds)


def _lines(body: bytes) -> list[bytes]:
    return [line for piece in body.split(b"\n") if (line := piece.strip(b" \t\r"))]


def _all_valid(
    body: bytes, *, array: bool, streams: Sequence[Stream], bounds: Bounds
) -> Parsed | None:
    """Parse a body in one go, or return None where anything in it needs a closer look."""
    decoder = _ONE[streams[0]] if len(streams) == 1 else _ANY
    try:
        structs = decoder.many.decode(body) if array else [decoder.one.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    _check_count(structs)
    parsed = Parsed(decoder.rows(structs), 0, [])
    quotes = sum(map(_known_quotes, parsed.rows))
    if parsed.valid < len(structs) or body.count(b'"') != quotes:
        return None
    for rows in parsed.rows:
        ids = [row[0] for row in rows.rows]
        times = [row[1] for row in rows.rows]
        if not _are_ids(ids):
            return None
        if max(times) > bounds.newest or min(times) < bounds.oldest[rows.stream]:
            return None
        if bounds.devices is not None and not bounds.devices.issuperset(ids):
            return None
        if rows.stream.optional:
            rows.rows = list(map(_without_unset, rows.rows))
        if any(time.tzinfo is not UTC for time in times):
            rows.rows = list(map(_in_utc, rows.rows))
    return parsed


def _are_ids(strings: Sequence[str]) -> bool:
    """Whether all of them are ids: one match costs less than one for each does."""
    joined = ",".join(strings)
    # One with a comma in it would pass for two.
    return joined.count(",") == len(strings) - 1 and bool(_is_list_of_ids(joined))


def _check_count(items: Sequence[Any]) -> None:
    if not items:
        raise NoReading
    if len(items) > MAX_READINGS:
        raise TooManyReadings(f"{len(items)} readings; a request holds up to {MAX_READINGS}")


def _each(
    items: Sequence[bytes | msgspec.Raw], streams: Sequence[Stream], bounds: Bounds
) -> Parsed:
    """Parse readings one by one, and say of each that is invalid what is wrong with it."""
    _check_count(items)
    rows = {stream: Rows(stream) for stream in streams}
    errors: list[Fault] = []
    rejected = 0
    for index, item in enumerate(map(bytes, items)):
        stream, row = _decode(item, streams)
        if stream is None:
            problems = list(explain(item, streams))
        elif refusal := bounds.refusal(stream, row[0], row[1]):
            problems = [refusal]
        else:
            rows[stream].rows.append(_in_utc(row))
            continue
        rejected += 1
        errors += [Fault(index, field, message) for field, message in problems]
    return Parsed(
        [stream_rows for stream_rows in rows.values() if len(stream_rows)], rejected, errors
    )


def _decode(
    item: bytes, streams: Iterable[Stream]
) -> tuple[Stream, tuple[Any, ...]] | tuple[None, tuple[()]]:
    """Decode a reading of any of the streams; None where it is of none."""
    quotes = item.count(b'"')
    for stream in streams:
        if quotes > _QUOTES[stream]:
            continue
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            row = _ONE[stream].row[stream](_ONE[stream].one.decode(item))
            if quotes == _known_quotes(Rows(stream, [row])) and _is_id(row[0]):
                return stream, _without_unset(row)
    return None, ()
