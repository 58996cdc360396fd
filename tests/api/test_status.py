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


@pytest.fixture
def four_vehicles(client: FlaskClient) -> None:
    """Each an hour older than the one before; the state of charge of `V-3` is unknown."""
    socs = {"V-1": 50, "V-2": 80, "V-3": None, "V-4": 50}
    client.post(
        "/v1/ingestion",
        json=[
            vehicle(vehicleId=device, soc=soc, timestamp=ago(hours=hours))
            for hours, (device, soc) in enumerate(socs.items(), 1)
        ],
    )


ORDERS = {
    "soc": ["V-1", "V-4", "V-2", "V-3"],
    "-soc": ["V-2", "V-1", "V-4", "V-3"],
    "vehicleId": ["V-1", "V-2", "V-3", "V-4"],
    "-vehicleId": ["V-4", "V-3", "V-2", "V-1"],
    "ageSeconds": ["V-1", "V-2", "V-3", "V-4"],
    "timestamp": ["V-4", "V-3", "V-2", "V-1"],
}


@pytest.mark.usefixtures("four_vehicles")
@pytest.mark.parametrize("sort", ORDERS)
def test_the_list_comes_in_the_order_that_is_asked_for_page_by_page(
    client: FlaskClient, sort: str
) -> None:
    query: dict[str, Any] = {"sort": sort, "limit": 1}
    seen = []
    while True:
        page = client.get("/v1/status/vehicles", query_string=query).json
        assert page
        seen += [item["vehicleId"] for item in page["items"]]
        if page["next"] is None:
            break
        query = {"limit": 1, "after": page["next"]}

    assert seen == ORDERS[sort]


@pytest.mark.usefixtures("four_vehicles")
def test_a_page_belongs_to_its_order(client: FlaskClient) -> None:
    page = client.get("/v1/status/vehicles?sort=soc&limit=1").json
    assert page

    response = client.get(
        "/v1/status/vehicles", query_string={"sort": "-soc", "after": page["next"]}
    )

    assert response.status_code == 422
    assert response.json
    (error,) = response.json["errors"]
    assert (error["field"], error["message"]) == ("after", "Belongs to sort=soc.")


@pytest.mark.parametrize("after", ["~", "~bm90IGpzb24=", "~WyJwb3dlciIsbnVsbCwiVi0xIl0="])
def test_a_cursor_that_no_page_gave_is_rejected(client: FlaskClient, after: str) -> None:
    response = client.get("/v1/status/vehicles", query_string={"after": after})

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "after"


def test_the_list_may_be_of_what_changed_since(client: FlaskClient) -> None:
    client.post("/v1/ingestion", json=meter(meterId="M-1"))
    first = client.get("/v1/status/meters/M-1").json
    assert first
    client.post("/v1/ingestion", json=meter(meterId="M-2"))
    second = client.get("/v1/status/meters/M-2").json
    assert second

    assert listed(client, changedSince=first["receivedAt"]) == ["M-1", "M-2"]
    assert listed(client, changedSince=second["receivedAt"]) == ["M-2"]


@pytest.mark.parametrize("route", ["/v1/status/vehicles", "/v1/status/vehicles/V-999"])
def test_who_has_the_status_already_gets_304_until_a_reading_comes(
    client: FlaskClient, route: str
) -> None:
    client.post("/v1/ingestion", json=vehicle(timestamp=ago(hours=2)))
    seen = {"If-None-Match": client.get(route).headers["ETag"]}

    again = client.get(route, headers=seen)
    client.post("/v1/ingestion", json=vehicle(timestamp=ago(hours=1)))
    changed = client.get(route, headers=seen)

    assert (again.status_code, again.data) == (304, b"")
    assert changed.status_code == 200
