"""What the decoder must answer, worked out from the rules by Python's own json, slowly."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from fleetwatt.ingestion.decode import Bounds
from fleetwatt.streams import Field, Stream

LIMIT = 10_000
# From here on, how deep a decoder goes is its own affair.
DEEP = 100

_is_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:*|@+-]{0,63}").fullmatch
# RFC 3339, but that the offset may lack its colon and a space may stand for the T.
_rfc3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))",
    re.ASCII,
).fullmatch
_SURROGATE = re.compile("[\ud800-\udfff]")


# What breaks a field's rule; nothing is stored of it.
BROKEN = object()


class NotJson(Exception):
    """By the letter of RFC 8259, in UTF-8, and without halves of surrogate pairs."""


class TooDeep(Exception):
    """Nested so deep that a refusal of any kind will do."""


class Members(list[tuple[str, Any]]):
    """An object with the names that it repeats."""


@dataclass
class Expected:
    """The rows of each stream's name; which fields of which readings are at fault."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    faults: set[tuple[int, str | None]] = field(default_factory=set)
    rejected: int = 0


def _no_number(_: str) -> object:
    """Read NaN and infinities as what no field may hold."""
    return BROKEN


def decode(text: bytes) -> Any:
    """Read a JSON value, with objects as `Members`."""
    if max(text.count(b"["), text.count(b"{")) > DEEP and _depth(text) > DEEP:
        raise TooDeep
    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=Members,
            parse_int=float,
            parse_constant=_no_number,
        )
    except ValueError:
        raise NotJson from None
    if b"\\u" in text and _broken(value):
        raise NotJson
    return value


def _depth(text: bytes) -> int:
    """Count how deep brackets nest, those within strings included: rather too deep than not."""
    depth = deepest = 0
    for bracket in re.findall(rb"[\[\]{}]", text):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _broken(value: Any) -> bool:
    match value:
        case str():
            return _SURROGATE.search(value) is not None
        case Members():
            return any(_broken(name) or _broken(member) for name, member in value)
        case list():
            return any(map(_broken, value))
    return False


def _time(value: Any) -> datetime | None:
    match = _rfc3339(value) if isinstance(value, str) else None
    if not match:
        return None
    *date, fraction, sign, hours, minutes = match.groups()
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    zone = timezone(-offset if sign == "-" else offset)
    # A leap second is the first second of the next minute.
    leap = timedelta(seconds=date[5] == "60")
    date[5] = "59" if leap else date[5]
    try:
        time = datetime(*map(int, date), tzinfo=zone) + leap  # type: ignore[arg-type,misc]
        # To the nearest microsecond.
        return time + timedelta(microseconds=(int((fraction or "0").ljust(7, "0")[:7]) + 5) // 10)
    except (ValueError, OverflowError):
        return None


def _in_our_era(time: datetime) -> bool:
    """Whether a time has a year between 1 and 9999 in UTC, too."""
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _stored(rule: Field, members: Mapping[str, Any]) -> Any:
    """Return what is stored of a reading's field, or BROKEN."""
    if rule.name not in members:
        return None if rule.optional else BROKEN
    value = members[rule.name]
    if value is None:
        return None if rule.nullable else BROKEN
    match rule.sql_type:
        case "text":
            return value if isinstance(value, str) and _is_id(value) else BROKEN
        case "timestamptz":
            return _time(value) or BROKEN
    if not isinstance(value, float) or not math.isfinite(value):
        return BROKEN
    least = -math.inf if rule.minimum is None else rule.minimum
    most = math.inf if rule.maximum is None else rule.maximum
    return value if least <= value <= most else BROKEN


def _echo(name: str) -> str:
    return name if len(name) <= 64 else name[:63] + "…"


def _reading(
    value: Any, streams: Sequence[Stream], bounds: Bounds
) -> tuple[Stream, tuple[Any, ...]] | set[str | None]:
    """Return the stream and the row of a reading, or the fields at fault; None for all of it."""
    if not isinstance(value, Members):
        return {None}
    names = Counter(name for name, _ in value)
    of = [stream for stream in streams if len(streams) == 1 or stream.id.name in names]
    known = {rule.name for stream in (of or streams) for rule in stream.fields}
    looked_at = known if bounds.ignore_unknown else names.keys()
    faults: set[str | None] = {
        _echo(name) for name, times in names.items() if times > 1 and name in looked_at
    }
    faults |= {_echo(name) for name in looked_at - known if name in names}
    if len(of) != 1:
        return {*faults, None}
    (stream,) = of
    members = dict(value)
    row = tuple(_stored(rule, members) for rule in stream.fields)
    faults |= {
        rule.name for rule, stored in zip(stream.fields, row, strict=True) if stored is BROKEN
    }
    if faults and row[1] is not BROKEN and not _in_our_era(row[1]):
        faults.add("timestamp")
    if not faults and bounds.devices is not None and row[0] not in bounds.devices[stream]:
        faults = {stream.id.name}
    elif not faults and not bounds.oldest[stream] <= row[1] <= bounds.newest:
        faults = {"timestamp"}
    return faults or (stream, row)


def _expect(values: Sequence[Any], streams: Sequence[Stream], bounds: Bounds) -> Expected | str:
    if not values:
        return "NoReading"
    if len(values) > LIMIT:
        return "TooManyReadings"
    expected = Expected()
    for index, value in enumerate(values):
        match _reading(value, streams, bounds):
            case (Stream() as stream, row):
                expected.rows.setdefault(stream.name, []).append(row)
            case faults:
                expected.rejected += 1
                expected.faults |= {(index, name) for name in faults}
    return expected


def expect_json(body: bytes, streams: Sequence[Stream], bounds: Bounds) -> Expected | str:
    """Return what becomes of a JSON body: rows and faults, or an exception's name."""
    try:
        value = decode(body)
    except NotJson:
        return "NotJson"
    if isinstance(value, Members):
        value = [value]
    if not isinstance(value, list):
        return "NoReading"
    return _expect(value, streams, bounds)


def expect_ndjson(body: bytes, streams: Sequence[Stream], bounds: Bounds) -> Expected | str:
    """Return what becomes of an NDJSON body."""
    values: list[Any] = []
    for line in body.split(b"\n"):
        if text := line.strip(b" \t\r"):
            try:
                values.append(decode(text))
            except NotJson:
                values.append(None)  # no object
    return _expect(values, streams, bounds)
