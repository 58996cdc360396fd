"""What is wrong with a reading that the decoder rejected, field by field.

The marshmallow schemas that document the routes say so. They derive from `streams`, as the decoder
does, and a test shows that the two agree.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from fleetwatt.faults import echoed
from fleetwatt.schemas.readings import READING_SCHEMAS
from fleetwatt.streams import TIMESTAMP, Stream

MAX_EXPLAINED = 1_000_000  # bytes
# A string. One that does not end goes to the end of the text: a search for its end does not begin
# again at each quote in it. What was matched is never given back, which would take memory a step.
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_strings = re.compile(STRING, re.DOTALL).finditer
_LEAP_SECOND = re.compile(r"(.*\d[Tt ]\d\d:\d\d:)60(\D.*)", re.ASCII)
_STRING = msgspec.json.Decoder(str)
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def explain(
    item: bytes, streams: Sequence[Stream], *, ignore_unknown: bool = False
) -> Iterator[tuple[str | None, str]]:
    """Say field by field what is wrong with a reading that the decoder rejected.

    Args:
        item: The reading.
        streams: Those that it may be of.
        ignore_unknown: Whether fields that its stream does not have are ignored.
    """
    try:
        raw_fields = _RAW_FIELDS.decode(item)
        check_strings(item)
        repeated = repeated_names(item, raw_fields)
    except msgspec.ValidationError:
        yield None, "Not a JSON object."
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield None, f"Not JSON: {error}."
        return
    named = [stream for stream in streams if stream.id.name in raw_fields] or list(streams)
    known = {field.name for stream in named for field in stream.fields}
    looked_at = known if ignore_unknown else known | raw_fields.keys()
    for name in repeated:
        if name in looked_at:
            yield echoed(name), "Given more than once."
    if len(named) > 1:
        ids = ", ".join(stream.id.name for stream in streams)
        yield None, f"Must have exactly one of the fields {ids}."
    else:
        yield from _invalid_values(raw_fields, named[0])
    for name in raw_fields:
        if name in looked_at and name not in known:
            yield echoed(name), "Unknown field; remove it, or ask for unknown fields to be ignored."


def _invalid_values(
    raw_fields: Mapping[str, msgspec.Raw], stream: Stream
) -> Iterator[tuple[str, str]]:
    # The schema would take its time over each unknown field.
    known = {field.name for field in stream.fields}
    reading = {name: _value(raw) for name, raw in raw_fields.items() if name in known}
    if isinstance(time := reading.get(TIMESTAMP.name), str):
        reading[TIMESTAMP.name] = before_leap_second(time) or time
    nullable = {field.name for field in stream.fields if field.nullable}
    for name, messages in READING_SCHEMAS[stream].validate(reading).items():
        for message in messages:
            if name in raw_fields:
                came = echoed(bytes(raw_fields[name]).decode().strip())
                yield name, f"{message.removesuffix('.')}; {came} came."
            else:
                advice = "; send null where it is unknown" if name in nullable else ""
                yield name, f"Missing{advice}."


def before_leap_second(time: str) -> str | None:
    """Return a timestamp whose second is 60 with 59 in its place, or None for any other."""
    found = _LEAP_SECOND.fullmatch(time)
    return f"{found[1]}59{found[2]}" if found else None


def why_not_json(body: bytes) -> str | None:
    """Say where a body stops being JSON, which the decoder counts from the start of a string.

    Returns:
        What is wrong there; None where only the decoder knows, or the body is too large to be read
        again by what is slower by far.
    """
    if not body.strip():
        return "there is nothing in it"
    if len(body) > MAX_EXPLAINED:
        return None
    try:
        json.loads(body.decode(), parse_constant=reject_constant, parse_int=float)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error)
    # What Python lets through.
    return "a string in it has half of a surrogate pair" if rb"\u" in body else None


def reject_constant(name: str) -> Any:
    """Reject NaN and infinities, which Python reads as numbers."""
    raise ValueError(f"{name} is not JSON")


def repeated_names(item: bytes, raw_fields: Mapping[str, msgspec.Raw]) -> list[str]:
    """Return the names that an object has more than once, of which decoders keep the last.

    Quotation marks show whether there may be any: those of the names and of the values kept.
    """
    kept = 2 * len(raw_fields) + sum(bytes(raw).count(b'"') for raw in raw_fields.values())
    if item.count(b'"') == kept or len(item) > MAX_EXPLAINED:
        return []
    # As floats, since Python does not read integers of thousands of digits.
    pairs: list[tuple[str, Any]] = json.loads(item, object_pairs_hook=list, parse_int=float)
    return [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]


def check_strings(text: bytes) -> None:
    """Look into the strings, which raw decoding skips: they may hold broken UTF-8.

    Raises:
        UnicodeDecodeError: A string is not UTF-8.
        msgspec.DecodeError: A string has half a surrogate pair.
    """
    text.decode()
    if rb"\u" in text:
        for string in _strings(text):
            if rb"\u" in string[0]:
                _STRING.decode(string[0])


def _value(raw: msgspec.Raw) -> Any:
    """Decode a field's value; infinity, which no field may be, for a number beyond a double.

    No field holds an array or an object, whatever is in it.
    """
    text = bytes(raw).lstrip()
    if text[:1] in {b"[", b"{"}:
        return []
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:
        return math.inf
