"""`make fuzz`: the decoder against its rules, on inputs that are nearly right.

Whatever comes, the decoder raises nothing but what it documents, accepts what the rules accept
and names what they refuse; and it says the same of a body as a whole and of its readings one by
one. `python -m tests.fuzz.decoder` takes FUZZ_INPUTS (1,000,000) and FUZZ_SEED (1), the first of
as many seeds as there are shares of 10,000 inputs.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from fleetwatt.ingestion import decode, split
from fleetwatt.ingestion.decode import Bounds, Parsed, parse_json, parse_ndjson
from fleetwatt.ingestion.split import NoReading, NotJson, TooManyReadings
from fleetwatt.streams import MAX_AHEAD, STREAMS, Stream
from tests.fuzz import inputs
from tests.fuzz.inputs import NOW
from tests.fuzz.rules import Expected, TooDeep, expect_json, expect_ndjson

# How many inputs come of one seed.
SHARE = 10_000

Streams = Sequence[Stream]
Parse = Callable[[bytes, Streams, Bounds], Parsed]

_ROUTES: list[Streams] = [*((stream,) for stream in STREAMS), STREAMS]
_LONG_AGO = dict.fromkeys(STREAMS, datetime(1, 1, 1, tzinfo=UTC))
_TODAY = dict.fromkeys(STREAMS, NOW - timedelta(days=1))
_BOUNDS = {
    "no retention": Bounds(NOW + MAX_AHEAD, _LONG_AGO),
    "a day kept": Bounds(NOW + MAX_AHEAD, _TODAY),
    "two devices": Bounds(
        NOW + MAX_AHEAD, _TODAY, dict.fromkeys(STREAMS, frozenset({"M-123", "V-999"}))
    ),
    "any time": Bounds(datetime.max.replace(tzinfo=UTC), _LONG_AGO),
    "unknown ignored": Bounds(NOW + MAX_AHEAD, _LONG_AGO, ignore_unknown=True),
}
_BOUNDS = {name: replace(bounds, max_faults=sys.maxsize) for name, bounds in _BOUNDS.items()}


def _lines_one_by_one(body: bytes, streams: Streams, bounds: Bounds) -> Parsed:
    lines = list(map(split.without_constants, split.lines_of(body)))
    return decode._one_by_one(lines, streams, bounds)


def _items_one_by_one(body: bytes, streams: Streams, bounds: Bounds) -> Parsed:
    items = split.items_of(body)
    return decode._one_by_one(items, streams, bounds)


# How a form is parsed as a whole, how one by one, and what the rules say.
_FORMS: dict[str, tuple[Parse, Parse, Callable[[bytes, Streams, Bounds], Expected | str]]] = {
    "json": (parse_json, _items_one_by_one, expect_json),
    "ndjson": (parse_ndjson, _lines_one_by_one, expect_ndjson),
}


class Violation(Exception):
    """What the decoder did that it must not."""


def _answer(parse: Parse, body: bytes, streams: Streams, bounds: Bounds) -> Parsed | str:
    try:
        return parse(body, streams, bounds)
    except (NotJson, NoReading, TooManyReadings) as error:
        return type(error).__name__


def _told(answer: Parsed | str) -> str:
    if isinstance(answer, str):
        return answer
    return f"rows {[rows.rows for rows in answer.rows]} and errors {answer.faults.listed}"


def _compare(answer: Parsed | str, expected: Expected | str) -> None:
    if isinstance(answer, str) or isinstance(expected, str):
        if answer != expected:
            raise Violation(f"{_told(answer)} instead of {expected}")
        return
    found = {rows.stream.name: rows.rows for rows in answer.rows}
    if found != expected.rows:
        raise Violation(f"rows {found} instead of {expected.rows}")
    faults = [(fault.index, fault.field) for fault in answer.faults.listed]
    if set(faults) != expected.faults or answer.rejected != expected.rejected:
        raise Violation(f"errors {answer.faults.listed} instead of those in {expected.faults}")
    for row in (row for rows in found.values() for row in rows):
        if row[1].tzinfo is not UTC or not all(
            type(value) is float and math.isfinite(value) for value in row[2:] if value is not None
        ):
            raise Violation(f"{row} has the wrong types")


def check(form: str, body: bytes, streams: Streams, bounds: Bounds) -> Parsed | str:
    """Parse a body and return the answer.

    Raises:
        Violation: The answer is not what the rules say.
    """
    parse, one_by_one, expect = _FORMS[form]
    answer = _answer(parse, body, streams, bounds)
    if not isinstance(answer, str) and not answer.rejected:
        slowly = _answer(one_by_one, body, streams, bounds)
        if answer != slowly:
            raise Violation(f"{_told(answer)} as a whole, {_told(slowly)} one by one")
    try:
        expected = expect(body, streams, bounds)
    except TooDeep:
        if not isinstance(answer, str) and not answer.rejected:
            raise Violation(f"{_told(answer)} of what is nested without end") from None
        return answer
    _compare(answer, expected)
    return answer


def _check_alike(body: bytes, streams: Streams, bounds: Bounds) -> Parsed | str:
    """Check that a reading is the same alone, in an array and on a line."""
    alone = check("json", body, streams, bounds)
    in_array = check("json", b"[" + body + b"]", streams, bounds)
    on_line = check("ndjson", body, streams, bounds) if b"\n" not in body else in_array
    if not isinstance(alone, str) and body.lstrip().startswith(b"{"):
        for other in (in_array, on_line):
            if other != alone:
                raise Violation(f"{_told(alone)} alone, {_told(other)} in an array or on a line")
    return alone


def run(count: int, seed: int) -> Counter[str]:
    """Check as many inputs and count what was answered.

    Raises:
        Violation: An answer was not what the rules say; it tells of the input.
    """
    random = Random(seed)
    answers: Counter[str] = Counter()
    for number in range(count):
        streams = random.choice(_ROUTES)
        rule, bounds = random.choice(list(_BOUNDS.items()))
        stream = streams[0] if len(streams) == 1 else None
        form = random.choice(["alone", "json", "json", "ndjson"])
        if number % 5_000 == 4_999:
            found = inputs.huge(random, stream or random.choice(STREAMS))
        elif form == "alone":
            found = [inputs.item(random, stream or random.choice(STREAMS))]
        else:
            found = inputs.items(random, stream)
        match form:
            case "alone":
                body = found[0]
            case "json":
                body = inputs.as_array(random, found)
            case _:
                body = inputs.as_lines(random, found)
        if random.random() < 0.25:
            body = inputs.damaged(random, body)
        if random.random() < 0.002:
            body = inputs.encoded(random, body)
        try:
            if form == "alone":
                answer = _check_alike(body, streams, bounds)
            else:
                answer = check(form, body, streams, bounds)
        except Exception as error:
            names = "+".join(stream.name for stream in streams)
            raise Violation(
                f"input {number:,} of seed {seed}: {form}, {names}, {rule}\n{body[:20_000]!r}\n"
                f"{type(error).__name__}: {str(error)[:20_000]}"
            ) from error
        answers[_kind(answer)] += 1
    return answers


def _kind(answer: Parsed | str) -> str:
    if isinstance(answer, str):
        return answer
    if not answer.rejected:
        return "accepted"
    return "accepted in part" if answer.valid else "refused"


def main() -> int:
    count = int(os.environ.get("FUZZ_INPUTS", "1000000"))
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    shares = [min(SHARE, count - start) for start in range(0, count, SHARE)]
    seeds = range(seed, seed + len(shares))
    answers: Counter[str] = Counter()
    try:
        with ProcessPoolExecutor() as pool:
            for share in pool.map(run, shares, seeds):
                answers += share
    except Violation as violation:
        sys.stdout.write(f"{violation}\n")
        return 1
    told = ", ".join(f"{times:,} {kind}" for kind, times in sorted(answers.items()))
    sys.stdout.write(
        f"{count:,} inputs of seeds {seed} to {seeds[-1]} answered as the rules say: {told}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
