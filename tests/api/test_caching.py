from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from tests.examples import NOW, at, vehicle
from tests.test_openapi import OPERATIONS

END = NOW - timedelta(days=2)
ROUTES = {
    "performance": f"/v1/analytics/performance/V-999?end={at(END)}&hours=3",
}


def hear(client: FlaskClient, minutes: int) -> None:
    """Post a reading that was taken this long before the window's end."""
    time = at(END - timedelta(minutes=minutes))
    assert client.post("/v1/ingestion", json=vehicle(timestamp=time)).status_code == 201


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_who_has_the_answer_already_gets_304_until_a_late_reading_changes_it(
    client: FlaskClient, route: str
) -> None:
    hear(client, 10)
    first = client.get(route)
    seen = {"If-None-Match": first.headers["ETag"]}

    again = client.get(route, headers=seen)
    hear(client, 20)
    changed = client.get(route, headers=seen)

    assert not first.headers["ETag"].startswith("W/")
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]
    assert changed.json != first.json


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_an_answer_that_late_readings_may_change_is_asked_for_again(
    client: FlaskClient, route: str
) -> None:
    hear(client, 10)

    assert client.get(route).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.community
def test_a_summary_is_never_kept_since_a_mapping_may_still_change_it(client: FlaskClient) -> None:
    hear(client, 10)
    end = datetime.now(UTC) - timedelta(days=2000)

    response = client.get("/v1/analytics/performance/V-999", query_string={"end": at(end)})

    assert response.headers["Cache-Control"] == "private, no-cache"


def test_a_problem_has_no_tag(client: FlaskClient) -> None:
    response = client.get("/v1/analytics/performance/V-0")

    assert response.status_code == 404
    assert "ETag" not in response.headers


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if "/v1/analytics/" in name])
def test_every_analytics_route_answers_who_has_the_answer_already(operation: str) -> None:
    assert "304" in OPERATIONS[operation]["responses"]
