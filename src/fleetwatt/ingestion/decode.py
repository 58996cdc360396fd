"""From a request's bytes to rows of each stream, or to errors with an index and a field.

msgspec decodes and validates; `explain` says what is wrong with what it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec

from fleetwatt.faults import MAX_FAULTS, Fault, Faults
from fleetwatt.ingestion.explain import (
    before_leap_second,
    check_strings,
    explain,
    repeated_names,
    why_not_json,
)
from fleetwatt.streams import ID_PATTERN, MAX_AHEAD, STREAMS, TIMESTAMP, Field, Rows, Stream

MAX_READINGS = 10_000
# From here on a body's parts are counted before it is taken apart.
_LARGE = 200_000  # bytes


class NotJson(Exception):
    """The body is not JSON."""


class NoReading(Exception):
    """The body is JSON without a reading in it."""


class TooManyReadings(Exception):
    """The body holds more than 10,000 readings."""


@dataclass(frozen=True)
class Parsed:
    """The valid readings of a request by stream, and what is wrong with the others.

    Attributes:
        rows: The valid readings.
        fields_at_fault: The field of each invalid reading, the first where there are several;
            None: all of it.
        faults: What is wrong with the invalid ones.
        indexes: Returns which reading of the request each row was, by stream.
    """

    rows: list[Rows]
    indexes: Callable[[], Mapping[Stream, Sequence[int]]] = field(compare=False)
    faults: Faults = field(default_factory=Faults)
    fields_at_fault: list[str | None] = field(default_factory=list)

    @property
    def valid(self) -> int:
        return sum(map(len, self.rows))

    @property
    def rejected(self) -> int:
        return len(self.fields_at_fault)


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
    for stream in streams:
        for own in stream.fields:
            known = fields.get(own.column, own)
            fields[own.column] = own if known == own else _strictest(known, own)
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

    def indexes(self, structs: Sequence[Any]) -> dict[Stream, Sequence[int]]:
        """Return which of the readings `rows` gives for each stream."""
        if len(self.row) == 1:
            return {stream: range(len(structs)) for stream in self.row}
        return {
            stream: [
                index
                for index, reading in enumerate(structs)
                if device(reading) is not msgspec.UNSET
            ]
            for stream, device in self.id.items()
        }


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
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = rb'"(?:[^"\\]|\\.)*"'
# A whole object without another in it, a string, or what gives a body its structure.
_TOKEN = re.compile(
    rb'\{[^{}\[\]"]*(?:' + _STRING + rb'[^{}\[\]"]*)*\}|' + _STRING + rb"|[\[\]{},]", re.DOTALL
)
# What some programs write where JSON has no number, outside of strings.
_CONSTANT = re.compile(_STRING + rb"|(?<![\w.+-])(-?Infinity|NaN)(?![\w.+-])(?!\s*:)", re.DOTALL)
_LINE = re.compile(rb"[^ \t\r\n][^\n]*")
_TEXT = msgspec.json.Decoder(str)
_TOO_MANY = f"over {MAX_READINGS:,} readings; a request holds up to {MAX_READINGS:,}"


@dataclass(frozen=True)
class Bounds:
    """What a reading may be of at this time and in this request.

    Attributes:
        newest: The latest timestamp that is accepted.
        oldest: The earliest one of each stream.
        devices: The only devices; None: any.
        ignore_unknown: Whether fields that a stream does not have are ignored.
        max_faults: How many faults are listed at most.
    """

    newest: datetime
    oldest: Mapping[Stream, datetime]
    devices: frozenset[str] | None = None
    ignore_unknown: bool = False
    max_faults: int = MAX_FAULTS

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
    array = body.lstrip()[:1] == b"["
    if array and len(body) > _LARGE:
        _check_items(body)
    if parsed := _all_valid(body, array=array, streams=streams, bounds=bounds):
        return parsed
    return _one_by_one(_items(body, array=array), streams, bounds)


def _items(body: bytes, *, array: bool) -> Sequence[bytes | msgspec.Raw]:
    """Split a body into readings, in which any constant that JSON lacks is no value of a field."""
    body = _without_constants(body)
    try:
        items: Sequence[msgspec.Raw] = _RAW_ITEMS.decode(body) if array else [_RAW.decode(body)]
        check_strings(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(why_not_json(body) or str(error)) from None
    if not array and body.lstrip()[:1] != b"{":
        raise NoReading
    return items


def _without_constants(text: bytes) -> bytes:
    """Write a string that no field may hold for what some programs write instead of a number."""
    return _CONSTANT.sub(_no_value, text) if b"NaN" in text or b"Infinity" in text else text


def _no_value(found: re.Match[bytes]) -> bytes:
    # Of the constant's length, so that what is said of a later position is right.
    constant = found[1]
    return b'"' + b"?" * (len(constant) - 2) + b'"' if constant else found[0]


def _check_items(body: bytes) -> None:
    """Count an array's items before each of them becomes an object of its own.

    Raises:
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    depth = commas = 0
    for token in _TOKEN.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
            case b"," if depth == 1:
                commas += 1
                if commas == MAX_READINGS:
                    raise TooManyReadings(_TOO_MANY)


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
    return _one_by_one(list(map(_without_constants, lines)), streams, bounds)


def _lines(body: bytes) -> list[bytes]:
    """Split a body into the lines that hold something, of which there are not too many."""
    found = islice(_LINE.finditer(body), MAX_READINGS + 1)
    lines = [line[0].rstrip(b" \t\r") for line in found]
    if len(lines) > MAX_READINGS:
        raise TooManyReadings(_TOO_MANY)
    return lines


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
    parsed = Parsed(decoder.rows(structs), partial(decoder.indexes, structs))
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
        raise TooManyReadings(_TOO_MANY)


def _one_by_one(
    items: Sequence[bytes | msgspec.Raw], streams: Sequence[Stream], bounds: Bounds
) -> Parsed:
    """Parse readings one by one, and say of each that is invalid what is wrong with it."""
    _check_count(items)
    rows = {stream: Rows(stream) for stream in streams}
    indexes: dict[Stream, list[int]] = {stream: [] for stream in streams}
    faults = Faults(bounds.max_faults)
    fields_at_fault: list[str | None] = []
    for index, item in enumerate(map(bytes, items)):
        stream, row, problems = _read(item, streams, bounds)
        if stream is not None:
            rows[stream].rows.append(row)
            indexes[stream].append(index)
            continue
        fields_at_fault.append(problems[0][0])
        for name, message in problems:
            faults.add(Fault(index, name, message))
    found = [stream_rows for stream_rows in rows.values() if len(stream_rows)]
    return Parsed(found, lambda: indexes, faults, fields_at_fault)


def _read(
    item: bytes, streams: Sequence[Stream], bounds: Bounds
) -> tuple[Stream | None, tuple[Any, ...], list[tuple[str | None, str]]]:
    """Read one reading; return its stream and row, or what is wrong with it."""
    added = timedelta(0)
    stream, row = _decode(item, streams)
    if stream is None:
        item, added = _mended(item, streams, bounds)
        stream, row = _decode(item, streams)
    if stream is None:
        return None, (), list(explain(item, streams, ignore_unknown=bounds.ignore_unknown))
    with suppress(OverflowError):
        row = (row[0], row[1] + added, *row[2:])
    if refusal := bounds.refusal(stream, row[0], row[1]):
        return None, (), [refusal]
    return stream, _in_utc(row), []


def _mended(item: bytes, streams: Sequence[Stream], bounds: Bounds) -> tuple[bytes, timedelta]:
    """Write a reading so that it can be decoded, where what is unusual in it is allowed.

    Returns:
        The reading without ignored fields, and with 59 for a timestamp's second 60; what is to be
        added to its time then.
    """
    added = timedelta(0)
    try:
        fields = _RAW_FIELDS.decode(item)
        check_strings(item)
        repeated = repeated_names(item, fields)
        time = _TEXT.decode(fields[TIMESTAMP.name])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return item, added
    named = [stream for stream in streams if stream.id.name in fields]
    known = {field.name for stream in named for field in stream.fields}
    if len(named) != 1 or not known.isdisjoint(repeated):
        return item, added
    if bounds.ignore_unknown:
        fields = {name: raw for name, raw in fields.items() if name in known}
    elif repeated:
        return item, added
    if second_before := before_leap_second(time):
        added = timedelta(seconds=1)
        fields[TIMESTAMP.name] = msgspec.Raw(msgspec.json.encode(second_before))
    return msgspec.json.encode(fields), added


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
