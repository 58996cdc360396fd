"""msgspec's decoders of readings, each made from the fields of one stream or of several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec

from fleetwatt.streams import ID_PATTERN, STREAMS, Field, Rows, Stream, is_id


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


class Decoder:
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


def known_quotes(rows: Rows) -> int:
    """Count the quotation marks of rows whose readings repeat no field."""
    left_out = sum(row.count(msgspec.UNSET) for row in rows.rows) if rows.stream.optional else 0
    return len(rows) * _QUOTES[rows.stream] - 2 * left_out


def without_unset(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with None for what its reading left out."""
    return tuple(None if value is msgspec.UNSET else value for value in row)


def in_utc(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the time to UTC: PostgreSQL knows no offset of 16 hours and more, RFC 3339 does."""
    return (row[0], row[1].astimezone(UTC), *row[2:])


_is_list_of_ids = re.compile(f"{ID_PATTERN}(?:,{ID_PATTERN})*").fullmatch
_ONE = {stream: Decoder([stream]) for stream in STREAMS}
_ANY = Decoder(STREAMS)
_QUOTES = {stream: _quotes(stream) for stream in STREAMS}


def decoder_of(streams: Sequence[Stream]) -> Decoder:
    """Return the decoder of one stream, or that of all."""
    return _ONE[streams[0]] if len(streams) == 1 else _ANY


def are_ids(strings: Sequence[str]) -> bool:
    """Whether all of them are ids: one match costs less than one for each does."""
    joined = ",".join(strings)
    # One with a comma in it would pass for two.
    return joined.count(",") == len(strings) - 1 and bool(_is_list_of_ids(joined))


def decode_one(
    item: bytes, streams: Iterable[Stream]
) -> tuple[Stream, tuple[Any, ...]] | tuple[None, tuple[()]]:
    """Decode a reading of any of the streams; None where it is of none."""
    quotes = item.count(b'"')
    for stream in streams:
        if quotes > _QUOTES[stream]:
            continue
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            row = _ONE[stream].row[stream](_ONE[stream].one.decode(item))
            if quotes == known_quotes(Rows(stream, [row])) and is_id(row[0]):
                return stream, without_unset(row)
    return None, ()
