"""Random fleets, through HTTP: what is said of all vehicles equals the loop of tests/reference.py.

Ends of windows are whole hours here, and the aggregates are materialized up to any hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from tests import reference
from tests.api.test_summary_reference import (
    Fleet,
    assert_equal,
    fleets,
    plug,
    posted,
    register,
    send,
)
from tests.conftest import empty, refresh
from tests.examples import NOW, at
from tests.scale import scaled

pytestmark = pytest.mark.scaled

HOUR = timedelta(hours=1)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=3)


@dataclass
class Windows:
    """Whole hours, counted from the fleet's beginning.

    Attributes:
        materialized: Up to where the aggregates are; None: they never were.
        asked: End and length of each window.
        zone, bucket: How the last of them is cut, besides by hours of UTC.
    """

    materialized: int | None
    asked: list[tuple[int, int]]
    zone: str
    bucket: str


hours = st.builds(
    Windows,
    materialized=st.none() | st.integers(0, 12),
    asked=st.lists(st.tuples(st.integers(-1, 12), st.integers(1, 14)), min_size=1, max_size=2),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
    bucket=st.sampled_from(["1h", "1d"]),
)


def ask(client: FlaskClient, route: str, end: datetime, length: int, **query: Any) -> Any:
    asked = {"end": at(end), "hours": length} | query
    response = client.get(f"/v1/analytics/{route}", query_string=asked)
    assert response.status_code == 200, response.json
    return response.json


def assert_page_equals_the_loop(page: Any, world: reference.World) -> None:
    names = {*world.names("vehicle"), *(mapping["vehicleId"] for mapping in world.mappings)}
    names |= {name for kind, name in world.devices if kind == "vehicle"}
    assert [item["vehicleId"] for item in page["items"]] == sorted(names)
    assert page["next"] is None
    for item in page["items"]:
        expected = world.summary(item["vehicleId"], *ends(page), "interpolated")
        assert_equal(item, expected)


def assert_fleet_equals_the_loop(answer: Any, world: reference.World) -> None:
    assert_equal(answer, world.fleet(*ends(answer)))
    for item in answer["items"]:
        since, until = (datetime.fromisoformat(item[edge]) for edge in ("start", "end"))
        assert_equal(item, world.fleet(since, until))


def ends(answer: Any) -> tuple[datetime, datetime]:
    return (
        datetime.fromisoformat(answer["windowStart"]),
        datetime.fromisoformat(answer["windowEnd"]),
    )


def assert_all_equal(
    client: FlaskClient, end: datetime, length: int, world: reference.World
) -> None:
    assert_page_equals_the_loop(ask(client, "performance", end, length), world)
    assert_fleet_equals_the_loop(ask(client, "fleet", end, length), world)


@settings(
    max_examples=scaled(80),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(fleet=fleets(), windows=hours)
def test_every_figure_of_the_fleet_equals_the_loop_over_all_readings(
    client: FlaskClient, sql: Connection, fleet: Fleet, windows: Windows
) -> None:
    empty(sql)
    readings = posted(fleet, "", MIDNIGHT)
    send(client, readings[: fleet.refreshed_after])
    if windows.materialized is not None:
        refresh(sql, MIDNIGHT + windows.materialized * HOUR)
    send(client, readings[fleet.refreshed_after :])
    mappings = plug(client, fleet, "", MIDNIGHT)
    world = reference.World(readings, mappings, register(client, fleet, ""))

    asked = [(MIDNIGHT + hour * HOUR, length) for hour, length in windows.asked]
    for end, length in asked:
        # What is said to be exact is, before the late readings are materialized.
        exact_until = datetime.fromisoformat(ask(client, "fleet", end, length)["exactUntil"])
        exact_hours = length - (end - exact_until) // HOUR
        if exact_hours > 0:
            assert_all_equal(client, exact_until, exact_hours, world)

    if windows.materialized is not None:
        refresh(sql, MIDNIGHT + windows.materialized * HOUR)
    for end, length in asked:
        assert ask(client, "fleet", end, length)["exactUntil"] == at(end)
        assert_all_equal(client, end, length, world)
    local = {"tz": windows.zone, "bucket": windows.bucket}
    assert_fleet_equals_the_loop(ask(client, "fleet", end, length, **local), world)
    page = ask(client, "performance", end, length, tz=windows.zone)
    assert_page_equals_the_loop(page, world)
