"""The register curve: what DESIGN's worked examples come to, in the loop and in the database."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from tests import reference
from tests.conftest import refresh, rows

BEGINNING = datetime(2026, 11, 10, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Readings = Sequence[tuple[timedelta, float]]


def each_minute(*registers: float, start: timedelta = timedelta(0)) -> Readings:
    return [(start + number * MINUTE, kwh) for number, kwh in enumerate(registers)]


def jitter() -> Readings:
    chance = random.Random(1)
    registers = (1000 + 0.29 * minute / 1440 for minute in range(1440))
    return each_minute(*(round(kwh + chance.choice([-0.1, 0, 0.1]), 3) for kwh in registers))


# What a register said, and over a span: its energy, readings ignored, resets.
EXAMPLES: dict[str, tuple[Readings, timedelta, float, int, int]] = {
    "a register of 0 after a boot": (
        each_minute(4076.10, 4076.22, 0, 0, 4076.55, 4076.67),
        HOUR,
        0.57,
        2,
        0,
    ),
    "a placeholder first": (each_minute(0, 909.948, 910.031), HOUR, 0.083, 0, 1),
    "a spike": (each_minute(500, 500.1, 9917.125, 500.3, 500.4), HOUR, 0.4, 1, 0),
    "a spike that the power allows": (each_minute(100, 103, 100.1, 100.2), HOUR, 0.2, 1, 0),
    "a little jitter": (each_minute(10.0, 10.1, 10.0, 10.1), HOUR, 0.1, 0, 0),
    "a new meter": (each_minute(5000, 5000.1, 12, 12.1, 12.2), HOUR, 0.3, 0, 1),
    "a spike after ten hours": (
        [(timedelta(0), 500.0), *each_minute(9917, 500.2, 500.3, start=10 * HOUR)],
        DAY,
        0.3,
        1,
        0,
    ),
    "the first day": (
        [(0 * HOUR, 100), (6 * HOUR, 100), (18 * HOUR, 140), (DAY, 140)],
        DAY / 2,
        20,
        0,
        0,
    ),
    "both days": (
        [(0 * HOUR, 100), (6 * HOUR, 100), (18 * HOUR, 140), (DAY, 140)],
        2 * DAY,
        40,
        0,
        0,
    ),
    "a register read once a day": (
        [(number * DAY, 20.0 * number) for number in range(9)],
        DAY,
        20,
        0,
        0,
    ),
    "a register read every hour": (
        [(number * HOUR, float(number)) for number in range(99)],
        3 * DAY,
        72,
        0,
        0,
    ),
}


def store(sql: Connection, readings: Readings) -> None:
    with sql.cursor() as cursor:
        for moment, kwh in readings:
            cursor.execute(
                "INSERT INTO meter_telemetry VALUES ('M', %s, %s, NULL)", (BEGINNING + moment, kwh)
            )


def asked(sql: Connection, *cuts: timedelta) -> list[tuple[Any, int, int]]:
    found = rows(
        sql,
        "SELECT energy_kwh, ignored, falls + jumps"
        " FROM meter_buckets('M', %(cuts)s, 1000) ORDER BY number",
        cuts=[BEGINNING + cut for cut in cuts],
    )
    return [(energy, ignored, resets) for energy, ignored, resets in found]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_example_comes_to_what_is_said(sql: Connection, name: str) -> None:
    readings, span, energy, ignored, resets = EXAMPLES[name]
    told = [reference.Reading(BEGINNING + moment, kwh) for moment, kwh in readings]
    curve = reference.curve(told, 1000)
    store(sql, readings)

    assert curve.energy(BEGINNING, BEGINNING + span) == pytest.approx(energy, abs=1e-9)
    expected = [(pytest.approx(energy, abs=1e-9), ignored, resets)]
    assert asked(sql, timedelta(0), span) == expected
    refresh(sql)
    assert asked(sql, timedelta(0), span) == expected


def test_a_register_that_jitters_is_neither_reset_nor_counted_often(sql: Connection) -> None:
    store(sql, jitter())
    refresh(sql)

    [(energy, ignored, resets)] = asked(sql, timedelta(0), DAY)

    assert (ignored, resets) == (0, 0)
    assert abs(energy - 0.29) < 0.3


def test_the_energy_of_any_parts_adds_up_to_the_whole(sql: Connection) -> None:
    chance = random.Random(2)
    registers = itertools.accumulate(chance.choice([0, 0.1, 0.2]) for _ in range(3000))
    store(sql, each_minute(*registers))
    refresh(sql, BEGINNING + 30 * HOUR)

    [(whole, _, _)] = asked(sql, timedelta(0), 49 * HOUR)
    for count in (2, 7, 40):
        cuts = sorted(chance.uniform(0, 49) * HOUR for _ in range(count))
        parts = asked(sql, timedelta(0), *cuts, 49 * HOUR)
        assert sum(energy for energy, _, _ in parts) == pytest.approx(whole, abs=1e-9)


def test_a_span_with_nothing_in_common_with_the_readings_is_unknown(sql: Connection) -> None:
    store(sql, each_minute(1, 2, 3))

    assert asked(sql, -2 * HOUR, -HOUR) == []
    assert asked(sql, HOUR, 2 * HOUR) == []


@pytest.mark.community
@pytest.mark.parametrize("seed", range(4))
def test_the_short_way_says_what_the_pieces_come_to(sql: Connection, seed: int) -> None:
    chance = random.Random(seed)
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 30 * HOUR
    off = chance.choice([0, 0, 0.1, 0.4])
    with sql.cursor() as cursor:
        kwh = chance.choice([0, 90.0, 5000.0])
        for minute in range(28 * 60):
            kwh += chance.choice([0, 0.1, 0.18])
            said = round(max(kwh + chance.choice([-1, 0, 1]) * off, 0), 3)
            if chance.random() < 0.0004:
                said = 9000.0
            if chance.random() > 0.02:
                moment = begin + minute * MINUTE + chance.choice([0, 0, 7.25]) * MINUTE / 60
                cursor.execute(
                    "INSERT INTO meter_telemetry VALUES ('M', %s, %s, %s)", (moment, said, said % 9)
                )
    refresh(sql)

    asked = 0
    for number in range(60):
        start, stop = sorted(begin + chance.uniform(2, 27) * HOUR for _ in range(2))
        if number % 4 == 0:
            start, stop = (
                moment.replace(minute=0, second=0, microsecond=0) for moment in (start, stop)
            )
        window = {"start": start, "stop": stop, "closed": number % 2 == 0}
        short = rows(
            sql,
            "SELECT * FROM meter_plain_span('M', %(start)s, %(stop)s, %(closed)s, 1000, 120e6)",
            **window,
        )
        if not short:
            continue
        asked += 1
        (_, *pieces), _ = rows(
            sql,
            "SELECT * FROM meter_spans('M', %(start)s, %(stop)s, %(closed)s,"
            " ARRAY[tstzrange(%(start)s, %(stop)s), tstzrange(%(start)s, %(stop)s)], 1000)",
            **window,
        )
        assert short[0][1:3] == tuple(pieces[:2]), window
        assert short[0][3] == pytest.approx(pieces[2], abs=1e-9), window
        assert short[0][8] == pytest.approx(pieces[7] or 0, abs=1e-6), window
        for column in (4, 5, 6, 7, 9, 10, 11):
            assert short[0][column] == pieces[column - 1], (column, window)
    assert asked > 3
