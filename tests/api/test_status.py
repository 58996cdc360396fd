from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.examples import ago, at, meter, vehicle

# What is known of a device now, besides its newest reading.
NOW = {"receivedAt", "ageSeconds", "powerKw", "charging"}


def test_a_status_is_the_newest_reading_as_it_was_sent_and_its_age(client: FlaskClient) -> None:
    reading = vehicle()
    client.post("/v1/ingestion", json=reading)

    status = client.get("/v1/status/vehicles/V-999").json

    assert status
    assert {name: status[name] for name in reading} == reading
    assert set(status) - set(reading) == NOW | {"meterId"}
    assert status["ageSeconds"] >= 60
    assert status["meterId"] is None


def test_a_vehicle_tells_its_current_meter(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=vehicle())
    client.post("/v1/ingestion/mapping", json={"vehicleId": "V-999", "meterId": "M-1"})
    client.post("/v1/ingestion/mapping", json={"vehicleId": "V-999", "meterId": "M-2"})

    status = client.get("/v1/status/vehicles/V-999").json

    assert status
    assert status["meterId"] == "M-2"


def test_a_meter_has_no_meter(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=meter())

    status = client.get("/v1/status/meters/M-123").json

    assert status
    assert set(status) - set(meter()) == NOW


def test_an_unknown_device_is_not_found(client: FlaskClient) -> None:
    response = client.get("/v1/status/meters/M-0")

    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"


def test_the_list_comes_in_pages(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=[meter(meterId=f"M-{number}") for number in range(5)])

    seen, after = [], None
    for _ in range(3):
        page = client.get("/v1/status/meters", query_string={"limit": 2, "after": after}).json
        assert page
        seen.append([meter["meterId"] for meter in page["items"]])
        after = page["next"]

    assert seen == [["M-0", "M-1"], ["M-2", "M-3"], ["M-4"]]
    assert after is None


def test_the_list_may_be_of_stale_devices_alone(client: FlaskClient) -> None:
    client.post(
        "/v1/ingestion",
        json=[
            vehicle(vehicleId="fresh", timestamp=at(datetime.now(UTC))),
            vehicle(vehicleId="stale", timestamp=ago(hours=2)),
        ],
    )

    page = client.get("/v1/status/vehicles?staleAfter=3600").json

    assert page
    assert [vehicle["vehicleId"] for vehicle in page["items"]] == ["stale"]


def test_a_wrong_argument_is_named(client: FlaskClient) -> None:
    response = client.get("/v1/status/meters?limit=0")

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "limit"


def listed(client: FlaskClient, **query: Any) -> list[str]:
    page = client.get("/v1/status/meters", query_string=query)
    assert page.status_code == 200, page.text
    assert page.json
    return [item["meterId"] for item in page.json["items"]]


def test_the_list_may_be_of_one_site_alone_in_pages_too(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=[meter(meterId=f"M-{number}") for number in range(5)])
    client.put("/v1/sites/S-1", json={})
    for number in (1, 3, 4, 9):
        client.put(f"/v1/devices/meters/M-{number}", json={"site": "S-1"})

    assert listed(client, site="S-1") == ["M-1", "M-3", "M-4"]
    assert listed(client, site="S-1", limit=2) == ["M-1", "M-3"]
    assert listed(client, site="S-1", limit=2, after="M-3") == ["M-4"]
    assert listed(client, site="S-2") == []


@pytest.fixture
def quarters(client: FlaskClient) -> None:
    """Four meters heard 8 minutes ago, or 80; `quarter-…` report every 15 minutes."""
    ages = {"minute-8": 8, "minute-80": 80, "quarter-70": 70, "quarter-80": 80}
    client.post(
        "/v1/ingestion",
        json=[
            meter(meterId=device, timestamp=at(datetime.now(UTC) - timedelta(minutes=age)))
            for device, age in ages.items()
        ],
    )
    for device in ("quarter-70", "quarter-80"):
        client.put(f"/v1/devices/meters/{device}", json={"intervalSeconds": 900})


@pytest.mark.usefixtures("quarters")
def test_a_device_is_stale_after_five_of_its_intervals(client: FlaskClient) -> None:
    assert listed(client, stale="true") == ["minute-8", "minute-80", "quarter-80"]
    assert listed(client, stale="false") == ["quarter-70"]
    assert len(listed(client)) == 4


@pytest.mark.usefixtures("quarters")
def test_stale_after_counts_for_all_devices_alike(client: FlaskClient) -> None:
    after = 75 * 60

    assert listed(client, staleAfter=after) == ["minute-80", "quarter-80"]
    assert listed(client, staleAfter=after, stale="true") == ["minute-80", "quarter-80"]
    assert listed(client, staleAfter=after, stale="false") == ["minute-8", "quarter-70"]


@pytest.mark.parametrize("value", ["yes", "1", "", "True"])
def test_stale_is_true_or_false(client: FlaskClient, value: str) -> None:
    response = client.get("/v1/status/meters", query_string={"stale": value})

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "stale"
