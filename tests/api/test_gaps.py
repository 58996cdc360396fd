from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.examples import NOW, at, meter, vehicle

START = NOW.replace(minute=0, second=0) - timedelta(days=3)
END = START + timedelta(hours=1)
MINUTE = timedelta(minutes=1)
WINDOW = {"start": at(START), "end": at(END)}


def hear(client: FlaskClient, *minutes: float) -> None:
    """Post a vehicle's reading at each of these minutes of the window."""
    readings = [vehicle(timestamp=at(START + minute * MINUTE)) for minute in minutes]
    assert client.post("/v1/ingestion", json=readings).status_code == 201


def gaps(client: FlaskClient, **query: Any) -> list[Any]:
    response = client.get("/v1/analytics/vehicles/V-999/gaps", query_string=WINDOW | query)
    assert response.status_code == 200, response.text
    assert response.json
    return list(response.json["items"])


def span(start: float, end: float, missing: int) -> dict[str, Any]:
    return {
        "start": at(START + start * MINUTE),
        "end": at(START + end * MINUTE),
        "seconds": (end - start) * 60,
        "missingReadings": missing,
    }


def test_the_longest_span_comes_first_and_the_windows_edges_bound_spans(
    client: FlaskClient,
) -> None:
    hear(client, *range(5, 20), *range(30, 58))

    assert gaps(client) == [span(19, 30, 10), span(0, 5, 4), span(57, 60, 3)]


def test_readings_and_missing_readings_add_up_to_one_a_minute(client: FlaskClient) -> None:
    heard = [1, 2, 3, 17, 18, 40, 41]
    hear(client, *heard)

    assert sum(gap["missingReadings"] for gap in gaps(client)) == 60 - len(heard)


def test_a_device_that_was_heard_each_minute_has_no_gap(client: FlaskClient) -> None:
    hear(client, *range(61))

    assert gaps(client) == []


def test_a_silent_window_is_one_gap(client: FlaskClient) -> None:
    hear(client, -5, 65)

    assert gaps(client) == [span(0, 60, 60)]


def test_a_gap_is_longer_than_asked_and_no_more_are_listed_than_asked(client: FlaskClient) -> None:
    hear(client, 0, 1, 2.5, 4.5, *range(5, 50), 52, 54, *range(55, 61))

    assert gaps(client) == [span(49, 52, 2), span(2.5, 4.5, 1), span(52, 54, 1)]
    assert gaps(client, limit=1) == [span(49, 52, 2)]
    assert gaps(client, longerThan=120) == [span(49, 52, 2)]
    assert gaps(client, longerThan=89.5)[-1] == span(1, 2.5, 1)


def test_what_lies_ahead_is_no_gap(client: FlaskClient) -> None:
    recent = datetime.now(UTC) - 10 * MINUTE
    client.post("/v1/ingestion", json=vehicle(timestamp=at(recent)))

    window = {"start": at(recent), "end": at(recent + timedelta(days=2))}
    response = client.get("/v1/analytics/vehicles/V-999/gaps", query_string=window)

    assert response.json
    assert datetime.fromisoformat(response.json["windowEnd"]) <= datetime.now(UTC)
    (gap,) = response.json["items"]
    assert gap["end"] == response.json["windowEnd"]


def test_a_meter_has_gaps_too(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=meter(timestamp=at(START + 30 * MINUTE)))

    response = client.get("/v1/analytics/meters/M-123/gaps", query_string=WINDOW)

    assert response.json == {
        "meterId": "M-123",
        "windowStart": at(START),
        "windowEnd": at(END),
        "items": [span(0, 30, 29), span(30, 60, 30)],
    }


@pytest.mark.parametrize("device", ["vehicles/V-0", "meters/M-0"])
def test_a_device_never_seen_is_not_found(client: FlaskClient, device: str) -> None:
    assert client.get(f"/v1/analytics/{device}/gaps").status_code == 404


@pytest.mark.parametrize(
    ("argument", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%201", "limit"),
        ("limit=１", "limit"),
        ("longerThan=-1", "longerThan"),
        ("longerThan=nan", "longerThan"),
        ("longerThan=1_0", "longerThan"),
        ("start=2024-02-09T10:00:00Z&end=2024-02-09T09:00:00Z", "start"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(
    client: FlaskClient, argument: str, field: str
) -> None:
    response = client.get(f"/v1/analytics/vehicles/V-999/gaps?{argument}")

    assert response.status_code == 422
    assert response.json
    assert [error["field"] for error in response.json["errors"]] == [field]


def register(client: FlaskClient, **entry: Any) -> None:
    assert client.put("/v1/devices/vehicles/V-999", json=entry).status_code in {200, 201}


@pytest.mark.parametrize("minutes", [15, 30])
def test_a_device_that_was_heard_each_interval_of_its_own_has_no_gap(
    client: FlaskClient, minutes: int
) -> None:
    hear(client, *range(0, 60, minutes))
    assert len(gaps(client)) == 60 // minutes

    register(client, intervalSeconds=minutes * 60)

    assert gaps(client) == []


def test_what_is_a_gap_and_what_it_lacks_go_by_the_interval(client: FlaskClient) -> None:
    register(client, intervalSeconds=300)
    hear(client, 0, 5, 12.5, 20.25, 35, 40, 45, 50, 55)

    assert gaps(client) == [span(20.25, 35, 2), span(12.5, 20.25, 1)]
    assert gaps(client, longerThan=600) == [span(20.25, 35, 2)]
    assert gaps(client, longerThan=449)[-1] == span(5, 12.5, 1)


def test_a_registered_device_that_never_reported_is_one_gap(client: FlaskClient) -> None:
    register(client, intervalSeconds=900)

    assert gaps(client) == [span(0, 60, 4)]
