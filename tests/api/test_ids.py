"""Ids as other systems make them: each passes through every route as it came."""

from __future__ import annotations

import urllib.request
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.conftest import rows
from tests.examples import ago, meter, vehicle

IDS = ["DE*ABC*E123", "RDAM|123", "a@b+c-d", "0.a_b:c", "x" * 64]
NO_IDS = ["*a", "|a", "@a", "+a", "-a", "a b", "a,b", "a;b", 'a"b', "a{b", "a\\b", "x" * 65, "ä"]


@pytest.fixture
def devices(client: FlaskClient) -> list[str]:
    """A meter and a vehicle of each id, with two readings each, stored in one array."""
    batch = [
        reading
        for device in IDS
        for minutes in (2, 1)
        for reading in (
            meter(meterId=device, timestamp=ago(minutes=minutes)),
            vehicle(vehicleId=device, timestamp=ago(minutes=minutes)),
        )
    ]
    response = client.post("/v1/ingestion", json=batch)
    assert response.json
    assert response.json["accepted"] == len(batch)
    return IDS


def test_a_reading_is_stored_under_its_id(devices: list[str], sql: Connection) -> None:
    found = rows(sql, "SELECT meter_id FROM meter_telemetry GROUP BY 1 HAVING count(*) = 2")

    assert {device for (device,) in found} == set(devices)


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("device", IDS)
@pytest.mark.parametrize("safe", ["", "*|@+:"])
def test_an_id_in_a_path_may_be_encoded_or_as_it_is(
    client: FlaskClient, device: str, safe: str
) -> None:
    path = quote(device, safe=safe)
    mapped = client.post("/v1/ingestion/mapping", json={"vehicleId": device, "meterId": device})

    assert mapped.status_code == 201
    for route in (
        "/v1/status/meters/{}",
        "/v1/status/vehicles/{}",
        "/v1/analytics/performance/{}",
        "/v1/analytics/meters/{}/series",
        "/v1/analytics/vehicles/{}/gaps",
    ):
        answer = client.get(route.format(path)).json
        assert answer
        assert device in (answer.get("meterId"), answer.get("vehicleId"))
    unplugged = client.delete(f"/v1/ingestion/mapping/{path}")
    assert unplugged.json
    assert unplugged.json["meterId"] == device


def test_a_page_goes_on_after_any_id_in_the_order_of_its_bytes(
    client: FlaskClient, devices: list[str]
) -> None:
    found: list[str] = []
    after: str | None = None
    while after or not found:
        arguments = {"limit": 1} | ({"after": after} if after else {})
        page = client.get("/v1/status/meters", query_string=arguments).json
        assert page
        found += [item["meterId"] for item in page["items"]]
        after = page["next"]

    assert found == sorted(devices)


@pytest.mark.parametrize("device", NO_IDS)
def test_whatever_else_is_no_id(client: FlaskClient, device: str) -> None:
    refused = client.post("/v1/ingestion/meter", json=meter(meterId=device))

    assert refused.status_code == 422
    assert refused.json
    assert [error["field"] for error in refused.json["errors"]] == ["meterId"]
    assert client.get(f"/v1/status/meters/{quote(device, safe='')}").status_code == 404


@pytest.mark.parametrize("device", IDS)
def test_a_server_takes_an_id_in_a_path(server_url: str, client: FlaskClient, device: str) -> None:
    client.post("/v1/ingestion/meter", json=meter(meterId=device))

    for path in (quote(device, safe=""), quote(device, safe="*|@+:")):
        with urllib.request.urlopen(f"{server_url}/v1/status/meters/{path}") as response:
            assert response.status == 200
