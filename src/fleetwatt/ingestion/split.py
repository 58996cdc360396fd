"""Splits a body into the readings that it holds, which are not decoded yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import msgspec

from fleetwatt.ingestion.explain import STRING, check_strings, why_not_json

MAX_READINGS = 10_000
# From here on a body's items are counted before it is taken apart.
_LARGE = 200_000  # bytes
_DEEPEST = 100  # arrays and objects in each other, in a body that is counted
_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
# A whole object without another in it, a string, or what gives a body its structure.
_TOKEN = re.compile(
    rb'\{[^{}\[\]"]*+(?:' + STRING + rb'[^{}\[\]"]*+)*+\}|' + STRING + rb"|[\[\]{},]", re.DOTALL
)
# What some programs write where JSON has no number, outside of strings.
_CONSTANT = re.compile(STRING + rb"|(?<![\w.+-])(-?Infinity|NaN)(?![\w.+-])(?!\s*:)", re.DOTALL)
_LINE = re.compile(rb"[^ \t\r\n][^\n]*")
_TOO_MANY = f"over {MAX_READINGS:,} readings; a request holds up to {MAX_READINGS:,}"


class NotJson(Exception):
    """The body is not JSON."""


class NoReading(Exception):
    """The body is JSON without a reading in it."""


class TooManyReadings(Exception):
    """The body holds more than 10,000 readings."""


def is_array(body: bytes) -> bool:
    """Whether a body is a JSON array, if it is JSON."""
    return body.lstrip()[:1] == b"["


def check_count(items: Sequence[object]) -> None:
    """Make sure that there are readings, and not too many.

    Raises:
        NoReading: There is none.
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    if not items:
        raise NoReading
    if len(items) > MAX_READINGS:
        raise TooManyReadings(_TOO_MANY)


def items_of(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    """Split one reading or a JSON array of readings.

    In them, a constant that JSON lacks is a string that no field may hold.

    Raises:
        NotJson: The body is not JSON.
        NoReading: It is JSON, but neither an object nor an array.
    """
    body = without_constants(body)
    try:
        items: Sequence[msgspec.Raw] = (
            _RAW_ITEMS.decode(body) if is_array(body) else [_RAW.decode(body)]
        )
        check_strings(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(why_not_json(body) or str(error)) from None
    if body.lstrip()[:1] not in {b"[", b"{"}:
        raise NoReading
    return items


def without_constants(text: bytes) -> bytes:
    """Write a string that no field may hold for what some programs write instead of a number."""
    return _CONSTANT.sub(_no_value, text) if b"NaN" in text or b"Infinity" in text else text


def _no_value(found: re.Match[bytes]) -> bytes:
    # Of the constant's length, so that what is said of a later position is right.
    constant = found[1]
    return b'"' + b"?" * (len(constant) - 2) + b'"' if constant else found[0]


def may_hold_too_many(body: bytes) -> bool:
    """Whether an array may hold more than `MAX_READINGS`: a look that costs next to nothing.

    An array of what are no objects does not get far.
    """
    return len(body) > _LARGE and body.count(b"{") > MAX_READINGS


def check_items(body: bytes) -> None:
    """Count a large array's items before each of them becomes an object of its own.

    Raises:
        TooManyReadings: There are more than `MAX_READINGS`.
        NotJson: It is nested so deeply that no reading can be in it.
    """
    if len(body) <= _LARGE:
        return
    depth = commas = 0
    for token in _TOKEN.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth > _DEEPEST:
                    raise NotJson("it is nested too deeply")
            case b"]" | b"}":
                depth -= 1
            case b"," if depth == 1:
                commas += 1
                if commas == MAX_READINGS:
                    raise TooManyReadings(_TOO_MANY)


def lines_of(body: bytes) -> list[bytes]:
    """Split a body into the lines that hold something.

    Raises:
        TooManyReadings: There are more than `MAX_READINGS`.
    """
    found = islice(_LINE.finditer(body), MAX_READINGS + 1)
    lines = [line[0].rstrip(b" \t\r") for line in found]
    if len(lines) > MAX_READINGS:
        raise TooManyReadings(_TOO_MANY)
    return lines
