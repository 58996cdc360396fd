"""The main job on real input: a building's meter, posted hour by hour, and asked for its energy."""

from __future__ import annotations

import csv
import gzip
import json
import random
import urllib.request
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from psycopg2.extensions import connection as Connection

from tests.conftest import refresh

DATA = Path(__file__).parent / "data" / "il-electricity-cdd-hdd-hourly.csv.gz"
HOUR = timedelta(hours=1)
Register = list[tuple[datetime, float]]


@pytest.fixture(scope="module")
def register() -> Register:
    """The meter's register at the end of each hour, shifted to end yesterday, offsets kept."""
    with gzip.open(DATA, "rt") as file:
        hours = [
            (datetime.fromisoformat(row["start"]), row["value"]) for row in csv.DictReader(file)
        ]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    shift = timedelta(days=(yesterday - hours[-1][0]).days)
    total = 0.0
    values = []
    for start, value in hours:
        if value:
            total += float(value)
            values.append((start + HOUR + shift, total))
    return values


def energy_by_summing(register: Register, start: datetime, end: datetime) -> float | None:
    inside = [value for time, value in register if start < time <= end]
    return sum(later - earlier for earlier, later in pairwise(inside)) if len(inside) > 1 else None


def windows(register: Register) -> list[tuple[datetime, int]]:
    """50 windows that cut hours anywhere, one around each daylight-saving change among them."""
    chance = random.Random(7)
    changes = [
        later
        for (earlier, _), (later, _) in pairwise(register)
        if earlier.utcoffset() != later.utcoffset()
    ]
    chosen = [
        (change + timedelta(hours=13, seconds=chance.randrange(3600)), 24) for change in changes
    ]
    first, last = register[0][0], register[-1][0]
    while len(chosen) < 50:
        end = first + timedelta(seconds=chance.randrange(round((last - first).total_seconds())))
        chosen.append((end, chance.randint(1, 744)))
    return chosen


def call(url: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.mark.parametrize("refreshed", [False, True], ids=["from raw", "from the aggregate"])
def test_any_window_has_the_energy_that_summing_the_file_gives(
    refreshed: bool, register: Register, server_url: str, sql: Connection
) -> None:
    readings = [
        {"meterId": "building", "kwhConsumedAc": kwh, "voltage": 120, "timestamp": time.isoformat()}
        for time, kwh in register
    ]
    # Each day is a chunk, and a request of them all would last for a writer's patience.
    for at in range(0, len(readings), 2_000):
        part = readings[at : at + 2_000]
        assert call(f"{server_url}/v1/ingestion/meter", part)["accepted"] == len(part)
    call(f"{server_url}/v1/ingestion/mapping", {"vehicleId": "tenant", "meterId": "building"})
    if refreshed:
        refresh(sql)

    asked = windows(register)
    assert len({end.utcoffset() for end, _ in asked}) == 2
    for end, hours in asked:
        query = urlencode({"end": end.isoformat(), "hours": hours})
        answer = call(f"{server_url}/v1/analytics/performance/tenant?{query}")
        expected = energy_by_summing(register, end - timedelta(hours=hours), end)
        assert answer["kwhConsumedAc"] == (expected and pytest.approx(expected, abs=1e-6)), (
            end,
            hours,
        )
