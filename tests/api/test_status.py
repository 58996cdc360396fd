from __future__ import annotations

from datetime import UTC, datetime

from flask.testing import FlaskClient

from tests.examples import ago, at, meter, vehicle


def test_a_status_is_the_newest_reading_as_it_was_sent_and_its_age(client: FlaskClient) -> None:
    reading = vehicle()
    client.post("/v1/ingestion", json=reading)

    status = client.get("/v1/status/vehicles/V-999").json

    assert status
    assert {name: status[name] for name in reading} == reading
    assert set(status) - set(reading) == {"receivedAt", "ageSeconds", "meterId"}
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
    assert set(status) - set(meter()) == {"receivedAt", "ageSeconds"}


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
        seen.append([each["meterId"] for each in page["items"]])
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
    assert [each["vehicleId"] for each in page["items"]] == ["stale"]


def test_a_wrong_argument_is_named(client: FlaskClient) -> None:
    response = client.get("/v1/status/meters?limit=0")

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "limit"
