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
from tests.api.test_summary_reference import Fleet, assert_equal, fleets, plug, posted, send
from tests.conftest import empty, refresh
from tests.examples import NOW, at
from tests.scale import scaled

HOUR = timedelta(hours=1)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=3)


@dataclass
class Windows:
    """Whole hours, counted from the fleet's beginning.

    Attributes:
        beginning: The hour of the day: where six hours end that are joined.
        materialized: Up to where the aggregates are; None: they never were.
        joined: Whether hours that late readings changed are joined anew as well.
        asked: End and length of each window.
    """

    beginning: int
    materialized: int | None
    joined: bool
    asked: list[tuple[int, int]]


hours = st.builds(
    Windows,
    beginning=st.integers(0, 5),
    materialized=st.none() | st.integers(0, 12),
    joined=st.booleans(),
    asked=st.lists(st.tuples(st.integers(-1, 12), st.integers(1, 14)), min_size=1, max_size=2),
)


def ask(client: FlaskClient, route: str, end: datetime, length: int, **query: Any) -> Any:
    asked = {"end": at(end), "hours": length} | query
    response = client.get(f"/v1/analytics/{route}", query_string=asked)
    assert response.status_code == 200, response.json
    return response.json


def assert_page_equals_the_loop(
    page: Any, readings: list[dict[str, Any]], mappings: list[dict[str, Any]]
) -> None:
    known = {each["vehicleId"] for each in (*readings, *mappings) if "vehicleId" in each}
    assert [each["vehicleId"] for each in page["items"]] == sorted(known)
    assert page["next"] is None
    start, end = (datetime.fromisoformat(page[edge]) for edge in ("windowStart", "windowEnd"))
    for item in page["items"]:
        name = item["vehicleId"]
        assert_equal(item, reference.summary(name, start, end, readings, mappings))


def assert_fleet_equals_the_loop(
    answer: Any, readings: list[dict[str, Any]], mappings: list[dict[str, Any]]
) -> None:
    start, end = (datetime.fromisoformat(answer[edge]) for edge in ("windowStart", "windowEnd"))
    expected = reference.fleet(start, end, readings, mappings)
    by_hour = expected.pop("hours")
    assert_equal(answer, expected)
    assert len(answer["hours"]) == len(by_hour)
    for hour, expected_hour in zip(answer["hours"], by_hour, strict=True):
        assert_equal(hour, expected_hour | {"start": at(expected_hour["start"])})


def assert_all_equal(
    client: FlaskClient,
    window: tuple[datetime, int],
    readings: list[dict[str, Any]],
    mappings: list[dict[str, Any]],
) -> None:
    assert_page_equals_the_loop(ask(client, "performance", *window), readings, mappings)
    assert_fleet_equals_the_loop(ask(client, "fleet", *window), readings, mappings)


@pytest.mark.scaled
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
    beginning = MIDNIGHT + windows.beginning * HOUR
    readings = posted(fleet, "", beginning)
    send(client, readings[: fleet.refreshed_after])
    if windows.materialized is not None:
        refresh(sql, beginning + windows.materialized * HOUR)
    send(client, readings[fleet.refreshed_after :])
    mappings = plug(client, fleet, "", beginning)

    asked = [(beginning + hour * HOUR, length) for hour, length in windows.asked]
    for end, length in asked:
        # What is said to be exact is, before the late readings are materialized.
        exact_until = datetime.fromisoformat(ask(client, "fleet", end, length)["exactUntil"])
        exact_hours = length - (end - exact_until) // HOUR
        if exact_hours > 0:
            assert_all_equal(client, (exact_until, exact_hours), readings, mappings)

    if windows.materialized is not None:
        refresh(sql, beginning + windows.materialized * HOUR, six_hourly=windows.joined)
    for window in asked:
        assert ask(client, "fleet", *window)["exactUntil"] == at(window[0])
        assert_all_equal(client, window, readings, mappings)
