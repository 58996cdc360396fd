"""What is wrong with a reading that the decoder refused, field by field.

The marshmallow schemas that document the routes say so. They derive from `streams`, as the decoder
does, and a test shows that the two agree.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from fleetwatt.schemas.readings import READING_SCHEMAS
from fleetwatt.streams import Stream

MAX_EXPLAINED = 1_000_000  # bytes
_STRINGS = msgspec.json.Decoder(list[str])
_find_strings = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL).findall
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def explain(item: bytes, streams: Sequence[Stream]) -> Iterator[tuple[str | None, str]]:
    """Say field by field what is wrong with a reading that the decoder refused."""
    try:
        reading = {name: _value(raw) for name, raw in _RAW_FIELDS.decode(item).items()}
        check_strings(item)
        repeated = _repeated(item)
    except msgspec.ValidationError:
        yield None, "Not a JSON object."
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield None, f"Not JSON: {error}."
        return
    for field in repeated:
        yield field, "Given more than once."
    named = [stream for stream in streams if stream.id.name in reading] or list(streams)
    if len(named) > 1:
        ids = ", ".join(stream.id.name for stream in streams)
        yield None, f"Must have exactly one of the fields {ids}."
        known = {field.name for stream in streams for field in stream.fields}
        yield from ((field, "Unknown field.") for field in reading if field not in known)
        return
    for field, messages in READING_SCHEMAS[named[0]].validate(reading).items():
        for message in messages:
            yield field, message


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
        json.loads(body.decode(), parse_constant=refuse_constant, parse_int=float)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error)
    # What Python lets through.
    return "a string in it has half of a surrogate pair" if rb"\u" in body else None


def refuse_constant(name: str) -> Any:
    """Refuse NaN and infinities, which Python reads as numbers."""
    raise ValueError(f"{name} is not JSON")


def _repeated(item: bytes) -> list[str]:
    """Return the names that an object has more than once, of which decoders keep the last."""
    # As floats, since Python refuses to read integers of thousands of digits.
    pairs: list[tuple[str, Any]] = json.loads(item, object_pairs_hook=list, parse_int=float)
    return [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]


def check_strings(text: bytes) -> None:
    """Look into the strings, which raw decoding skips: they may hold broken UTF-8.

    Raises:
        UnicodeDecodeError: A string is not UTF-8.
        msgspec.DecodeError: A string has half a surrogate pair.
    """
    try:
        msgspec.json.decode(text)
    except msgspec.ValidationError:
        # A number beyond a double, which is JSON still, and past which nothing was looked at.
        _STRINGS.decode(b"[" + b",".join(_find_strings(text)) + b"]")


def _value(raw: msgspec.Raw) -> Any:
    """Decode a field's value; infinity, which no field may be, for a number beyond a double."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return math.inf
