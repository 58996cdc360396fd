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

from fleetwatt import calendar
from tests import reference
from tests.api.test_summary_reference import entries, registers, registers_in_order
from tests.conftest import refresh
from tests.examples import NOW, at, meter, vehicle
from tests.scale import scaled

pytestmark = pytest.mark.scaled

SPAN = timedelta(hours=30)
# Midnight lies inside, so that days are cut as well.
BEGINNING = NOW.replace(hour=20, minute=0, second=0) - timedelta(days=5)
BUCKETS = ("raw", *calendar.USUAL)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")
# The aggregate is shared by all examples; ids of their own keep their readings apart.
EXAMPLE = itertools.count()

# Seconds into the span: close to each other or hours apart, often where buckets meet.
moments = (
    st.integers(0, 360).map(lambda minute: 20.0 * minute)
    | st.integers(0, 120).map(lambda quarter: 900.0 * quarter)
    | st.floats(0, SPAN.total_seconds()).map(lambda seconds: round(seconds, 6))
)


@dataclass
class Life:
    """What a device says: moments are seconds since the beginning."""

    kind: str
    readings: list[tuple[float, float]]  # moment, kWh; as they arrive
    refreshed_after: int  # readings; then the aggregates are materialized
    windows: list[tuple[float, float]]
    tabulated: str  # the bucket whose answer is asked for as CSV, too
    zone: str
    entry: tuple[float, float] | None  # the power and the interval that it is registered with


@st.composite
def lives(draw: st.DrawFn) -> Life:
    count = draw(st.integers(1, 24))
    times = draw(st.lists(moments, unique=True, min_size=count, max_size=count).map(sorted))
    values = draw(registers_in_order(count))
    readings = list(zip(times, values, strict=True))
    repeated = draw(st.lists(st.sampled_from(times), max_size=3))
    readings += [(moment, draw(registers)) for moment in repeated]
    windows = st.tuples(moments, moments).filter(lambda window: window[0] != window[1])
    return Life(
        kind=draw(st.sampled_from(["meter", "vehicle"])),
        readings=draw(st.permutations(readings)),
        refreshed_after=draw(st.just(len(readings)) | st.integers(0, len(readings))),
        windows=draw(st.lists(windows, min_size=1, max_size=3)),
        tabulated=draw(st.sampled_from(BUCKETS)),
        zone=draw(st.sampled_from(ZONES)),
        entry=draw(entries),
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
        # An empty item has nulls for what is not named here.
        assert answer.keys() >= wanted.keys()
        assert all(value is None for name, value in answer.items() if name not in wanted)
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
        {name: cell(name, value) for name, value in line.items()}
        for line in csv.DictReader(io.StringIO(text, newline=""))
    ]


def cell(name: str, value: str) -> Any:
    if name in {"start", "end"}:
        return value
    if name == "ignored":
        return {"true": True, "false": False}[value]
    return float(value) if value else None


def with_silence(
    items: list[dict[str, Any]], start: datetime, end: datetime, interval: timedelta
) -> list[dict[str, Any]]:
    """Return readings with an empty item where more than 1.5 intervals went without one."""
    heard = [start, *(item["start"] for item in items)]
    silent = [
        since + interval
        for since, until in itertools.pairwise([*heard, end])
        if until - since > 1.5 * interval
    ]
    counts = {"readings": 0, "counterResets": 0, "ignoredReadings": 0, "ignored": False}
    empty = [{"start": time, "end": time} for time in silent]
    return sorted(items + [item | counts for item in empty], key=lambda item: item["start"])


def cut(
    world: reference.World, life: Life, device: str, window: tuple[datetime, datetime], bucket: str
) -> list[dict[str, Any]]:
    """Return the buckets of a window, each of what of it lies in the window."""
    start, end = window
    bounds = calendar.bounds(start, end, bucket, calendar.zone(life.zone))
    return [
        world.bucket(life.kind, device, max(since, start), min(until, end))
        | {"start": since, "end": until}
        for since, until in itertools.pairwise(bounds)
    ]


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

    devices = {}
    if life.entry:
        max_kw, seconds = life.entry
        body = {"maxKw": max_kw, "intervalSeconds": seconds}
        assert client.put(f"/v1/devices/{life.kind}s/{device}", json=body).status_code == 201
        devices[life.kind, device] = reference.Device(max_kw, timedelta(seconds=seconds))
    world = reference.World(readings, [], devices)
    interval = world.device(life.kind, device).interval

    path = f"/v1/analytics/{life.kind}s/{device}"
    for ends in life.windows:
        start, end = (BEGINNING + timedelta(seconds=moment) for moment in sorted(ends))
        query = {"start": at(start), "end": at(end), "tz": life.zone}
        for bucket in BUCKETS:
            response = client.get(f"{path}/series", query_string=query | {"bucket": bucket})
            assert response.json, response.text
            items, warnings = response.json["items"], response.json["warnings"]
            told = world.series_warnings(life.kind, device, start, end)
            if bucket == "raw":
                heard = world.raw(life.kind, device, start, end)
                assert_equal(items, with_silence(heard, start, end, interval))
                assert warnings == [name for name in told if name != "estimated_edge"]
            else:
                assert_equal(items, cut(world, life, device, (start, end), bucket))
                assert warnings == told
            if bucket != life.tabulated:
                continue
            table = client.get(
                f"{path}/series",
                query_string=query | {"bucket": bucket},
                headers={"Accept": "text/csv"},
            )
            assert read(table.text) == items

        del query["tz"]
        history = world.history(life.kind, device)
        own = [(time, reading) for time, reading in history if start <= time < end]
        spans = reference.gaps(own, start, end, interval)
        spans = [span for span in spans if span["seconds"] > 1.5 * interval.total_seconds()]
        spans.sort(key=lambda span: -span["seconds"])
        response = client.get(f"{path}/gaps", query_string=query)
        assert response.json
        assert_equal(response.json["items"], spans)
