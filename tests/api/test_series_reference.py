"""Random devices, through HTTP: every series and gap equals the loops of tests/reference.py."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from tests import reference
from tests.conftest import refresh
from tests.examples import NOW, at, meter, vehicle
from tests.scale import scaled

SPAN = timedelta(hours=30)
# Midnight lies inside, so that days are cut as well.
BEGINNING = NOW.replace(hour=20, minute=0, second=0) - timedelta(days=5)
WIDTHS = {
    "raw": None,
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
# The aggregate is shared by all examples; ids of their own keep their readings apart.
EXAMPLE = itertools.count()

# Seconds into the span: close to each other or hours apart, often where buckets meet.
moments = (
    st.integers(0, 360).map(lambda minute: 20.0 * minute)
    | st.integers(0, 120).map(lambda quarter: 900.0 * quarter)
    | st.floats(0, SPAN.total_seconds()).map(lambda seconds: round(seconds, 6))
)
# A register that mostly rises, or one that falls as often.
registers = st.integers(0, 30).map(float) | st.floats(0, 1e4).map(lambda kwh: round(kwh, 3))


@dataclass
class Life:
    """What a device says: moments are seconds since the beginning."""

    kind: str
    readings: list[tuple[float, float]]  # moment, kWh; as they arrive
    refreshed_after: int  # readings; then the aggregates are materialized
    windows: list[tuple[float, float]]
    tabulated: str  # the bucket whose answer is asked for as CSV, too


@st.composite
def lives(draw: st.DrawFn) -> Life:
    count = draw(st.integers(1, 24))
    times = draw(st.lists(moments, unique=True, min_size=count, max_size=count).map(sorted))
    values = draw(st.lists(registers, min_size=count, max_size=count))
    if draw(st.booleans()):
        values = list(itertools.accumulate(values))
    readings = list(zip(times, values, strict=True))
    repeated = draw(st.lists(st.sampled_from(times), max_size=3))
    readings += [(moment, draw(registers)) for moment in repeated]
    windows = st.tuples(moments, moments).filter(lambda window: window[0] != window[1])
    return Life(
        kind=draw(st.sampled_from(["meter", "vehicle"])),
        readings=draw(st.permutations(readings)),
        refreshed_after=draw(st.just(len(readings)) | st.integers(0, len(readings))),
        windows=draw(st.lists(windows, min_size=1, max_size=3)),
        tabulated=draw(st.sampled_from(list(WIDTHS))),
    )


def posted(life: Life, device: str) -> list[dict[str, Any]]:
    readings = []
    for moment, kwh in life.readings:
        time = at(BEGINNING + timedelta(seconds=moment))
        if life.kind == "meter":
            readings.append(
                meter(meterId=device, kwhConsumedAc=kwh, voltage=kwh % 250, timestamp=time)
            )
        else:
            measures = {"kwhDeliveredDc": kwh, "batteryTemp": kwh % 60, "soc": kwh % 100}
            readings.append(vehicle(vehicleId=device, timestamp=time, **measures))
    return readings


def send(client: FlaskClient, readings: list[dict[str, Any]]) -> None:
    for first in range(0, len(readings), 10):
        response = client.post("/v1/ingestion", json=readings[first : first + 10])
        assert response.status_code in {200, 201}, response.json


def assert_equal(answers: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(answers) == len(expected)
    for answer, wanted in zip(answers, expected, strict=True):
        assert list(answer) == list(wanted)
        for name, value in wanted.items():
            if isinstance(value, datetime):
                assert datetime.fromisoformat(answer[name]) == value
            elif isinstance(value, float):
                assert answer[name] == pytest.approx(value, rel=0, abs=1e-9), name
            else:
                assert answer[name] == value, name


def read(text: str) -> list[dict[str, Any]]:
    """Return a CSV's lines as the objects that JSON holds."""
    return [
        {
            name: value if name == "start" else float(value) if value else None
            for name, value in line.items()
        }
        for line in csv.DictReader(io.StringIO(text, newline=""))
    ]


@pytest.mark.scaled
@settings(
    max_examples=scaled(200),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(life=lives())
def test_every_series_and_gap_equals_the_loop_over_all_readings(
    client: FlaskClient, sql: Connection, life: Life
) -> None:
    device = f"S-{next(EXAMPLE)}"
    readings = posted(life, device)
    send(client, readings[: life.refreshed_after])
    refresh(sql)
    send(client, readings[life.refreshed_after :])

    path = f"/v1/analytics/{life.kind}s/{device}"
    for window in life.windows:
        start, end = (BEGINNING + timedelta(seconds=moment) for moment in sorted(window))
        query = {"start": at(start), "end": at(end)}
        heard = reference.history(readings, f"{life.kind}Id", device)
        own = [(time, each) for time, each in heard if start < time <= end]
        for bucket, width in WIDTHS.items():
            response = client.get(f"{path}/series", query_string=query | {"bucket": bucket})
            assert response.json, response.text
            items = response.json["items"]
            assert_equal(items, reference.series(life.kind, own, start, end, width))
            if bucket != life.tabulated:
                continue
            table = client.get(
                f"{path}/series",
                query_string=query | {"bucket": bucket},
                headers={"Accept": "text/csv"},
            )
            assert read(table.text) == items

        spans = [each for each in reference.gaps(own, start, end) if each["seconds"] > 90]
        spans.sort(key=lambda each: -each["seconds"])
        response = client.get(f"{path}/gaps", query_string=query)
        assert response.json
        assert_equal(response.json["items"], spans)
