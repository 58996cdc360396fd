"""Random fleets, through HTTP: every figure of a summary equals the loop of tests/reference.py."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

pytestmark = pytest.mark.scaled

HOUR = timedelta(hours=1)
SPAN = timedelta(hours=5)
METERS = 3
# The aggregate is shared by all examples; ids of their own keep their readings apart.
EXAMPLE = itertools.count()

# Seconds into the fleet's span: often on a quarter of an hour, so that readings, changes of meter
# and the edges of windows and hours meet, otherwise anywhere.
moments = st.integers(0, 20).map(lambda quarter: quarter * 900.0) | st.floats(
    0, SPAN.total_seconds()
).map(lambda seconds: round(seconds, 6))


def moments_in_order(most: int) -> st.SearchStrategy[list[float]]:
    """As often many as few: a list of no given length is mostly short."""
    return st.integers(0, most).flatmap(
        lambda count: st.lists(moments, unique=True, min_size=count, max_size=count).map(sorted)
    )


registers = st.integers(0, 30).map(float) | st.floats(0, 1e4).map(lambda kwh: round(kwh, 3))
# What a register may be off by: nothing mostly; a jitter, a spike, or it says next to nothing.
FAULTS = (*[0.0] * 8, -0.1, 0.1, 1.5, 9417.0, -500.0)


@st.composite
def registers_in_order(draw: st.DrawFn, count: int) -> list[float]:
    """Anything at all, a register that rises, or one that rises slowly and is off now and then."""
    values = draw(st.lists(registers, min_size=count, max_size=count))
    kind = draw(st.sampled_from(["any", "rising", "faulty"]))
    if kind == "any":
        return values
    if kind == "rising":
        return list(itertools.accumulate(values))
    faults = draw(st.lists(st.sampled_from(FAULTS), min_size=count, max_size=count))
    risen = itertools.accumulate(value % 3 for value in values)
    return [max(round(500 + kwh + fault, 3), 0.0) for kwh, fault in zip(risen, faults, strict=True)]


# The power and the interval that a device is registered with; mostly it is not.
entries = st.none() | st.tuples(
    st.sampled_from([11.0, 150.0, 1000.0]), st.sampled_from([60.0, 900.0])
)


windows = st.lists(moments, unique=True, min_size=2, max_size=2).map(sorted)


@dataclass
class Fleet:
    """What happens: moments are seconds since the beginning."""

    vehicles: int
    readings: list[tuple[str, int, float, float]]  # kind, number, moment, kWh; as they arrive
    refreshed_after: int  # readings; then the aggregates are materialized
    mappings: list[tuple[int, float | None, int]]  # vehicle, since, meter
    unplugged: list[bool]  # now, for each vehicle
    windows: list[list[float]]  # start and end of each
    entries: dict[tuple[str, int], tuple[float, float] | None]  # of kind and number


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    vehicles = draw(st.integers(1, 4))
    readings = []
    for kind, count in (("meter", METERS), ("vehicle", vehicles)):
        for number in range(count):
            times = draw(moments_in_order(16))
            values = draw(registers_in_order(len(times)))
            readings += [(kind, number, *taken) for taken in zip(times, values, strict=True)]
    if readings:
        repeated = draw(st.lists(st.sampled_from(readings), max_size=3))
        readings += [(*reading[:3], draw(registers)) for reading in repeated]
    readings = draw(st.permutations(readings))
    return Fleet(
        vehicles=vehicles,
        readings=readings,
        refreshed_after=draw(st.just(len(readings)) | st.integers(0, len(readings))),
        mappings=[stay for number in range(vehicles) for stay in draw(stays(number))],
        unplugged=draw(st.lists(st.booleans(), min_size=vehicles, max_size=vehicles)),
        windows=draw(st.lists(windows, min_size=1, max_size=3)),
        entries={
            (kind, number): draw(entries)
            for kind, count in (("meter", METERS), ("vehicle", vehicles))
            for number in range(count)
        },
    )


@st.composite
def stays(draw: st.DrawFn, vehicle_number: int) -> list[tuple[int, float | None, int]]:
    """Where a vehicle is from when on; mostly on the first meter, so that it meets the others."""
    times: list[float | None] = [*draw(moments_in_order(5))]
    since_ever = draw(st.booleans())
    if times and since_ever:
        times[0] = None
    return [(vehicle_number, time, draw(st.sampled_from([0, 0, 1, 2]))) for time in times]


def posted(fleet: Fleet, prefix: str, beginning: datetime) -> list[dict[str, Any]]:
    """Return the fleet's readings as its devices post them."""
    readings = []
    for kind, number, moment, kwh in fleet.readings:
        time = at(beginning + timedelta(seconds=moment))
        if kind == "meter":
            readings.append(meter(meterId=f"{prefix}M{number}", kwhConsumedAc=kwh, timestamp=time))
        else:
            warmth = {"batteryTemp": kwh % 60}
            device = f"{prefix}V{number}"
            readings.append(vehicle(vehicleId=device, kwhDeliveredDc=kwh, timestamp=time, **warmth))
    return readings


def send(client: FlaskClient, readings: list[dict[str, Any]]) -> None:
    for first in range(0, len(readings), 20):
        response = client.post("/v1/ingestion", json=readings[first : first + 20])
        assert response.status_code in {200, 201}, response.json


def plug(client: Any, fleet: Fleet, prefix: str, beginning: datetime) -> list[dict[str, Any]]:
    """Map the vehicles, unplug some now, and return the mappings that came of it."""
    for number, since, meter_number in fleet.mappings:
        body = {"vehicleId": f"{prefix}V{number}", "meterId": f"{prefix}M{meter_number}"}
        if since is not None:
            body["validFrom"] = at(beginning + timedelta(seconds=since))
        assert client.post("/v1/ingestion/mapping", json=body).status_code in {200, 201}
    for number, unplugged in enumerate(fleet.unplugged):
        if unplugged:
            client.delete(f"/v1/ingestion/mapping/{prefix}V{number}")
    return [
        mapping
        for number in range(fleet.vehicles)
        for mapping in client.get(f"/v1/mappings?vehicleId={prefix}V{number}").json["items"]
    ]


def register(
    client: FlaskClient, fleet: Fleet, prefix: str
) -> dict[tuple[str, str], reference.Device]:
    """Register the fleet's devices, and return what is known of them."""
    known = {}
    for (kind, number), entry in fleet.entries.items():
        if entry is not None:
            max_kw, interval = entry
            name = f"{prefix}{kind[0].upper()}{number}"
            body = {"maxKw": max_kw, "intervalSeconds": interval}
            assert client.put(f"/v1/devices/{kind}s/{name}", json=body).status_code in {200, 201}
            known[kind, name] = reference.Device(max_kw, timedelta(seconds=interval))
    return known


def assert_equal(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    for field, value in expected.items():
        if isinstance(value, float):
            # A ratio is as exact as its parts: over little energy it is a large number.
            rel = 1e-9 if field == "efficiency" else 0
            assert answer[field] == pytest.approx(value, rel=rel, abs=1e-9), field
        else:
            assert answer[field] == value, field


@settings(
    max_examples=scaled(500),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(fleet=fleets(), now=st.booleans())
def test_every_summary_equals_the_loop_over_all_readings(
    client: FlaskClient, sql: Connection, fleet: Fleet, now: bool
) -> None:
    prefix = f"{next(EXAMPLE)}-"
    # A fleet of now ends as far ahead as clocks may be, so that unplugging cuts its readings.
    beginning = NOW.replace(minute=0, second=0) - timedelta(days=3)
    if now:
        beginning = datetime.now(UTC) + timedelta(minutes=4) - SPAN
    readings = posted(fleet, prefix, beginning)
    send(client, readings[: fleet.refreshed_after])
    refresh(sql)
    send(client, readings[fleet.refreshed_after :])
    mappings = plug(client, fleet, prefix, beginning)
    devices = register(client, fleet, prefix)

    world = reference.World(readings, mappings, devices)
    known = {named.get("vehicleId") for named in (*readings, *mappings)}
    known |= {name for kind, name in devices if kind == "vehicle"}
    asked = itertools.product(fleet.windows, range(fleet.vehicles), ("readings", "interpolated"))
    for window, number, edges in asked:
        start, end = (beginning + timedelta(seconds=moment) for moment in window)
        name = f"{prefix}V{number}"
        response = client.get(
            f"/v1/analytics/performance/{name}",
            query_string={"start": at(start), "end": at(end), "edges": edges},
        )
        if name not in known:
            assert response.status_code == 404
            continue
        assert response.json
        assert_equal(response.json, world.summary(name, start, end, edges))
