from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from fleetwatt import calendar
from tests.examples import NOW, at, vehicle
from tests.http.test_openapi import OPERATIONS

END = NOW - timedelta(days=2)
WINDOW = f"start={at(END - timedelta(hours=3))}&end={at(END)}"
ROUTES = {
    "performance": f"/v1/analytics/performance/V-999?end={at(END)}&hours=3",
    "series": f"/v1/analytics/vehicles/V-999/series?{WINDOW}",
    "gaps": f"/v1/analytics/vehicles/V-999/gaps?{WINDOW}",
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


@pytest.mark.parametrize("tag", ['"another"', "*"])
def test_what_is_only_asked_for_has_no_precondition(client: FlaskClient, tag: str) -> None:
    hear(client, 10)

    for route in ROUTES.values():
        assert client.get(route, headers={"If-Match": tag}).status_code == 200


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_an_answer_that_late_readings_may_change_is_asked_for_again(
    client: FlaskClient, route: str
) -> None:
    hear(client, 10)

    assert client.get(route).headers["Cache-Control"] == "private, no-cache"


def test_an_answer_about_what_no_reading_can_change_is_asked_for_again(client: FlaskClient) -> None:
    hear(client, 10)
    end = datetime.now(UTC) - timedelta(days=2000)
    window = {"start": at(end - timedelta(hours=3)), "end": at(end)}

    for route in ("series", "gaps"):
        response = client.get(f"/v1/analytics/vehicles/V-999/{route}", query_string=window)
        assert response.headers["Cache-Control"] == "private, no-cache"
    response = client.get("/v1/analytics/performance/V-999", query_string={"end": at(end)})
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_a_tag_does_not_outlive_the_rules_of_the_time_zones(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(client, 10)
    first = client.get(ROUTES["series"])
    monkeypatch.setattr(calendar, "VERSION", "2099a")

    later = client.get(ROUTES["series"], headers={"If-None-Match": first.headers["ETag"]})

    assert later.status_code == 200
    assert later.data == first.data
    assert later.headers["ETag"] != first.headers["ETag"]


def test_a_table_that_is_streamed_has_no_tag(client: FlaskClient) -> None:
    hear(client, 10)

    response = client.get(ROUTES["series"], headers={"Accept": "text/csv"})

    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_a_problem_has_no_tag(client: FlaskClient) -> None:
    response = client.get("/v1/analytics/vehicles/V-0/series")

    assert response.status_code == 404
    assert "ETag" not in response.headers


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if "/v1/analytics/" in name])
def test_every_analytics_route_answers_who_has_the_answer_already(operation: str) -> None:
    assert "304" in OPERATIONS[operation]["responses"]
