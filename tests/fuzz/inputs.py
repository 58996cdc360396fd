"""Request bodies, most of them nearly right: built from tokens, changed by token and by byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from fleetwatt.streams import STREAMS, Stream
from tests.examples import at

Members = list[tuple[bytes, bytes]]

NOW = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)


def ago(**span: float) -> str:
    return at(NOW - timedelta(**span))


TIMES = [
    ago(minutes=1),
    ago(minutes=1).lower(),
    ago(minutes=1).replace("T", " "),
    ago(minutes=1).replace("Z", ".123456789Z"),
    ago(minutes=1).replace("Z", ".9999999Z"),
    ago(minutes=1).replace("Z", "-00:00"),
    ago(hours=5).replace("Z", "-05:00"),
    ago(hours=-5).replace("Z", "+0500"),
    ago(hours=-23, minutes=-59).replace("Z", "+23:59"),
    ago(hours=23, minutes=59).replace("Z", "-23:59"),
]
ODD_TIMES = [
    ago(minutes=-6),
    ago(days=2),
    ago(minutes=1).replace("Z", ""),
    ago(minutes=1).replace("Z", "+24:00"),
    ago(minutes=1).replace("Z", "+12:60"),
    ago(minutes=1).replace("Z", "+01"),
    ago(minutes=1).replace("Z", " Z"),
    ago(minutes=1).replace("Z", ".Z"),
    "2016-12-31T23:59:60Z",
    "2024-02-30T00:00:00Z",
    "2024-02-09T24:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59.9999999Z",
    "10000-01-01T00:00:00Z",
    "2024-02-09T10:00:00\u2028Z",
    "\u0662024-02-09T10:00:00Z",
    "1707472800",
]
IDS = [
    "M-123",
    "V-999",
    "a",
    "0",
    "A.b_c:d-e",
    "DE*ABC*E123",
    "RDAM|123",
    "a@b+c",
    "x" * 64,
    "meterId",
    "vehicleId",
    "timestamp",
]
ODD_IDS = [
    "",
    "-1",
    "*1",
    "|1",
    "@1",
    "+1",
    "a,b",
    "a{b",
    'a"b',
    "x" * 65,
    "a b",
    "a\n",
    "a\0",
    "a\u2028b",
    "ü",
    "a\v",
    "\ufeffa",
    "a/b",
    "𝟙",
]
NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "0e0",
    "1",
    "1.0",
    "1E0",
    "1e+0",
    "10e-1",
    "45",
    "99.99999999999999",
    "100",
    "100.0",
    "1e2",
    "0.1",
    "5e-324",
    "1e-400",
    "-1e-400",
    "1e-999",
    "1e1",
    "230",
    "1000000",
]
ODD_NUMBERS = [
    "-1",
    "-5e-324",
    "100.00000000000001",
    "101",
    "-60.00000000000001",
    "150.1",
    "1e308",
    "1e309",
    "1e999",
    "-1e999",
    "01",
    "-01",
    "1.",
    ".5",
    "+1",
    "1e",
    "1e+",
    "0x10",
    "1_0",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "true",
    "false",
    "null",
    '"230"',
    '""',
    "[]",
    "{}",
    "[1e999]",
    "[[]]",
    '{"a":1}',
    '{"":{"a":[1,2]}}',
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "9007199254740993",
    "18446744073709551616",
    "١",
    "1" * 400,
    "-" + "1" * 400,
    "1" * 300,
    "0." + "0" * 400 + "1",
]
ODD_STRINGS = [
    rb'"\ud800"',
    rb'"\udc00"',
    rb'"\ud800\ud800"',
    rb'"\ud83d\ude00"',
    rb'"\udc00\ud800"',
    rb'"\ud800x"',
    rb'"\u0000"',
    rb'"\x41"',
    rb'"\u12"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\0"',
    b'"\t"',
    b'"\x7f"',
    b'"',
    rb'"\"',
    b"'a'",
]
ODD_NAMES = [b'""', b'"extra"', b'"_schema"', b'"a.b"', b'"meterid"', b'" meterId"', b"meterId"]
SPACES = [b"", b" ", b"\n", b"\r\n", b"\t", b"  \t "]
ODD_SPACES = [b"\v", b"\f", b"\xc2\xa0", b"\xe2\x80\xa8", b"\0", b"/**/", b"//\n", b"#", b","]
FRAGMENTS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf",
    b"null", b"1e999", b"[]", b"{}", b'""', b'"a":1,', rb"\u0041", b"\xe2\x80\xa8", b"//", b"]]",
]  # fmt: skip


def _quoted(random: Random, text: str) -> bytes:
    """Write a string in JSON, one in eight times with escapes that need not be."""
    quoted = json.dumps(text, ensure_ascii=random.random() < 0.5).encode()
    if text and random.random() < 0.125 and quoted[1:-1] == text.encode():
        at = random.randrange(len(text))
        quoted = b'"%s\\u%04x%s"' % (text[:at].encode(), ord(text[at]), text[at + 1 :].encode())
    return quoted


def members(random: Random, stream: Stream) -> Members:
    """Return the members of a valid reading, names and values as they are written."""
    found = []
    for field in stream.fields:
        if field.optional and random.random() < 0.3:
            continue
        match field.sql_type:
            case _ if field.nullable and random.random() < 0.3:
                value = b"null"
            case "text":
                value = _quoted(random, random.choice(IDS))
            case "timestamptz":
                value = _quoted(random, random.choice(TIMES))
            case _:
                value = random.choice(NUMBERS).encode()
        found.append((_quoted(random, field.name), value))
    random.shuffle(found)
    return found


def _odd_value(random: Random) -> bytes:
    match random.randrange(4):
        case 0:
            return _quoted(random, random.choice(ODD_TIMES))
        case 1:
            return _quoted(random, random.choice(ODD_IDS))
        case 2:
            return random.choice(ODD_NUMBERS).encode()
    return random.choice(ODD_STRINGS)


def _change_value(random: Random, reading: Members) -> None:
    at = random.randrange(len(reading))
    reading[at] = (reading[at][0], _odd_value(random))


def _change_name(random: Random, reading: Members) -> None:
    at = random.randrange(len(reading))
    reading[at] = (random.choice([*ODD_NAMES, *ODD_STRINGS]), reading[at][1])


def _drop(random: Random, reading: Members) -> None:
    del reading[random.randrange(len(reading))]


def _repeat(random: Random, reading: Members) -> None:
    name, value = random.choice(reading)
    reading.insert(random.randint(0, len(reading)), (name, random.choice([value, b"1", b'"a"'])))


def _borrow(random: Random, reading: Members) -> None:
    """Take members from a reading of another kind."""
    other = members(random, random.choice(STREAMS))
    known = {name for name, _ in reading}
    reading += [member for member in other if member[0] not in known][: random.randint(1, 4)]


def _nest(random: Random, reading: Members) -> None:
    """Put the reading into one of its fields."""
    name, _ = random.choice(reading)
    reading.append((name, written(random, reading)))


def _add(random: Random, reading: Members) -> None:
    reading.append((random.choice(ODD_NAMES), random.choice(NUMBERS).encode()))


_CHANGES: list[Callable[[Random, Members], None]] = [
    _change_value,
    _change_value,
    _change_value,
    _change_name,
    _drop,
    _repeat,
    _borrow,
    _borrow,
    _nest,
    _add,
]


def written(random: Random, reading: Members) -> bytes:
    space = random.choice(SPACES) if random.random() < 0.1 else b""
    if random.random() < 0.005:
        space = random.choice(ODD_SPACES)
    pairs = [name + space + b":" + space + value for name, value in reading]
    return b"{" + space + (b"," + space).join(pairs) + space + b"}"


def item(random: Random, stream: Stream) -> bytes:
    """Return a reading, or what somebody might take for one."""
    chance = random.random()
    if chance < 0.01:
        return _odd_value(random)
    if chance < 0.02:
        return b"{}" if chance < 0.015 else b"[" + item(random, stream) + b"]"
    reading = members(random, stream)
    while reading and random.random() < 0.3:
        random.choice(_CHANGES)(random, reading)
    return written(random, reading)


def _both_and_neither(random: Random) -> list[bytes]:
    """A reading of both kinds, and one of neither: together they count as two."""
    first, second = (members(random, stream) for stream in random.sample(STREAMS, 2))
    both = dict(first) | dict(second)
    names = [name for name, value in both.items() if not value.startswith(b'"')]
    neither = [(name, b"1") for name in random.sample(names, random.randint(1, len(names)))]
    return [written(random, list(both.items())), written(random, neither)]


def items(random: Random, stream: Stream | None) -> list[bytes]:
    """Return up to a handful of readings, of one stream or of any."""
    count = min(int(random.expovariate(0.5)), 12) + (random.random() < 0.9)
    found = [item(random, stream or random.choice(STREAMS)) for _ in range(count)]
    if stream is None and random.random() < 0.02:
        found += _both_and_neither(random)
        random.shuffle(found)
    return found


def damaged(random: Random, body: bytes) -> bytes:
    """Change bytes, lose some, repeat some, or add what has a meaning."""
    changed = bytearray(body)
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        at = random.randint(0, len(changed))
        match random.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                del changed[at : at + random.choice([1, 1, 2, 10])]
            case 2:
                changed[at:at] = changed[at : at + random.randint(1, 40)]
            case 3 if random.random() < 0.3:
                del changed[at:]
            case _:
                changed[at:at] = random.choice(FRAGMENTS)
    return bytes(changed)


def as_array(random: Random, found: list[bytes]) -> bytes:
    space = random.choice(SPACES) if random.random() < 0.1 else b""
    body = space + b"[" + (space + b"," + space).join(found) + space + b"]" + space
    return body.replace(b"]", b",]") if random.random() < 0.002 else body


def as_lines(random: Random, found: list[bytes]) -> bytes:
    end = random.choice([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b" \t\n", b"\n \n"])
    return end.join(found) + random.choice([b"", end])


def encoded(random: Random, body: bytes) -> bytes:
    """Write a body in an encoding that JSON does not have."""
    encoding = random.choice(["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
    return body.decode(errors="replace").encode(encoding, errors="replace")


def huge(random: Random, stream: Stream) -> list[bytes]:
    """Return readings of which there are too many, or one that is deep, or very long."""
    valid = written(random, members(random, stream))
    match random.randrange(6):
        case 0:
            return [valid] * random.choice([10_000, 10_001])
        case 1:
            return [random.choice([b"{}", b"1", b"{"])] * random.choice([10_000, 10_001])
        case 2:
            deep = random.choice([10**5, 900, 101])
            return [valid, random.choice([b"[" * deep, b"[" * deep + b"]" * deep]), valid]
        case 3:
            deep = random.choice([10**5, 900, 101])
            return [b'{"a":' * deep + random.choice([b"", b"1" + b"}" * deep]), valid]
        case 4:
            number = random.choice([b"1", b"-1", b"0.", b"1e", b"1E-"]) + b"1" * 5_000
            return [valid[:-1] + b',"voltage":' + number + b"}", valid]
    return [valid.replace(b"1", number) for number in (b"1" * 5_000, b"1" * 309)]
