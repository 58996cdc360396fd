"""From a request's bytes to rows of each stream, or to errors with an index and a field.

msgspec decodes and validates; `explain` says what is wrong with what it rejects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from fleetwatt.faults import MAX_FAULTS, Fault, Faults
from fleetwatt.ingestion.decoders import (
    are_ids,
    decode_one,
    decoder_of,
    in_utc,
    known_quotes,
    without_unset,
)
from fleetwatt.ingestion.explain import before_leap_second, check_strings, explain, repeated_names
from fleetwatt.ingestion.split import (
    check_count,
    check_items,
    is_array,
    items_of,
    lines_of,
    may_hold_too_many,
    without_constants,
)
from fleetwatt.streams import MAX_AHEAD, TIMESTAMP, Rows, Stream

MAX_EXAMINED = 100_000  # bytes of a reading in which what is wrong is looked for
_TOO_LONG = f"Not a valid reading; over {MAX_EXAMINED:,} bytes it is not said why."
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


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


@dataclass(frozen=True)
class Bounds:
    """What a reading may be of at this time and in this request.

    Attributes:
        newest: The latest timestamp that is accepted.
        oldest: The earliest one of each stream.
        devices: The ids of the only devices, by stream; None: any.
        why_not: What is said of a reading of another device.
        ignore_unknown: Whether fields that a stream does not have are ignored.
        max_faults: How many faults are listed at most.
    """

    newest: datetime
    oldest: Mapping[Stream, datetime]
    devices: Mapping[Stream, frozenset[str]] | None = None
    why_not: str = "Not one of the devices that the API key may write for."
    ignore_unknown: bool = False
    max_faults: int = MAX_FAULTS

    def refusal(self, stream: Stream, device: str, time: datetime) -> tuple[str, str] | None:
        """Name the field for which a reading is rejected and say why, or None."""
        if self.devices is not None and device not in self.devices[stream]:
            return stream.id.name, self.why_not
        if time > self.newest:
            minutes = MAX_AHEAD.seconds // 60
            return (
                TIMESTAMP.name,
                f"More than {minutes} minutes ahead of the server's clock: set the device's clock.",
            )
        if time < self.oldest[stream]:
            return (
                TIMESTAMP.name,
                "Older than the raw history that is kept; retention would drop it.",
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
    array = is_array(body)
    if array and may_hold_too_many(body):
        check_items(body)
    # This ends at the first that is not valid.
    if parsed := _all_valid(body, array=array, streams=streams, bounds=bounds):
        return parsed
    if array:
        check_items(body)
    return _one_by_one(items_of(body), streams, bounds)


def parse_ndjson(body: bytes, streams: Sequence[Stream], bounds: Bounds) -> Parsed:
    """Parse a reading a line; blank lines count for nothing, an index counts the others from 0.

    Raises:
        NoReading: There is no line.
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    lines = lines_of(body)
    # Parts of readings on two lines could make whole ones in an array: each starts on its line.
    if all(line.startswith(b"{") and line.count(b"{") == 1 for line in lines):
        array = b"[" + b",".join(lines) + b"]"
        if parsed := _all_valid(array, array=True, streams=streams, bounds=bounds):
            return parsed
    return _one_by_one(list(map(without_constants, lines)), streams, bounds)


def _all_valid(
    body: bytes, *, array: bool, streams: Sequence[Stream], bounds: Bounds
) -> Parsed | None:
    """Parse a body in one go, or return None where anything in it needs a closer look."""
    decoder = decoder_of(streams)
    try:
        structs = decoder.many.decode(body) if array else [decoder.one.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    check_count(structs)
    parsed = Parsed(decoder.rows(structs), partial(decoder.indexes, structs))
    quotes = sum(map(known_quotes, parsed.rows))
    if parsed.valid < len(structs) or body.count(b'"') != quotes:
        return None
    for rows in parsed.rows:
        ids = [row[0] for row in rows.rows]
        times = [row[1] for row in rows.rows]
        if not are_ids(ids):
            return None
        if max(times) > bounds.newest or min(times) < bounds.oldest[rows.stream]:
            return None
        if bounds.devices is not None and not bounds.devices[rows.stream].issuperset(ids):
            return None
        if rows.stream.optional:
            rows.rows = list(map(without_unset, rows.rows))
        if any(time.tzinfo is not UTC for time in times):
            rows.rows = list(map(in_utc, rows.rows))
    return parsed


def _one_by_one(
    items: Sequence[bytes | msgspec.Raw], streams: Sequence[Stream], bounds: Bounds
) -> Parsed:
    """Parse readings one by one, and say of each that is invalid what is wrong with it."""
    check_count(items)
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
    stream, row = decode_one(item, streams)
    if stream is None and len(item) > MAX_EXAMINED:
        return None, (), [(None, _TOO_LONG)]
    if stream is None:
        item, added = _mended(item, streams, bounds)
        stream, row = decode_one(item, streams)
    if stream is None:
        return None, (), list(explain(item, streams, ignore_unknown=bounds.ignore_unknown))
    with suppress(OverflowError):
        row = (row[0], row[1] + added, *row[2:])
    if refusal := bounds.refusal(stream, row[0], row[1]):
        return None, (), [refusal]
    return stream, in_utc(row), []


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
