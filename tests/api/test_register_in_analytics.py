"""What analytics make of the register: coverage by the device's interval, sites, power."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.conftest import refresh
from tests.examples import NOW, at, meter, vehicle

END = NOW.replace(minute=0, second=0) - timedelta(hours=3)
HOURS = 4
START = END - timedelta(hours=HOURS)
WINDOW = {"end": at(END), "hours": HOURS}


def ask(client: FlaskClient, route: str, **query: Any) -> Any:
    response = client.get(f"/v1/analytics/{route}", query_string=WINDOW | query)
    assert response.status_code == 200, response.text
    return response.json


def hear(client: FlaskClient, device: str, minutes: float, *, step: float = 0.1) -> None:
    """Store a reading each so many minutes of the window, of a meter or a vehicle by its id."""
    count = round(HOURS * 60 / minutes)
    times = [at(START + number * timedelta(minutes=minutes)) for number in range(count)]
    if device.startswith("M"):
        batch = [
            meter(meterId=device, kwhConsumedAc=100 + number * step, timestamp=time)
            for number, time in enumerate(times)
        ]
    else:
        batch = [
            vehicle(vehicleId=device, kwhDeliveredDc=50 + number * step, timestamp=time)
            for number, time in enumerate(times)
        ]
    assert client.post("/v1/ingestion", json=batch).status_code == 201


def plug(client: FlaskClient, device: str, into: str) -> None:
    client.post("/v1/ingestion/mapping", json={"vehicleId": device, "meterId": into})


def register(client: FlaskClient, device: str, **entry: Any) -> None:
    kind = "meters" if device.startswith("M") else "vehicles"
    assert client.put(f"/v1/devices/{kind}/{device}", json=entry).status_code in {200, 201}


@pytest.mark.parametrize("minutes", [15, 30])
def test_a_device_that_reports_at_each_of_its_intervals_is_covered(
    client: FlaskClient, sql: Connection, minutes: int
) -> None:
    hear(client, "V-1", 1, step=0.05)
    hear(client, "M-1", minutes)
    plug(client, "V-1", "M-1")
    refresh(sql)
    before = ask(client, "performance/V-1")
    assert before["meterCoverage"] == pytest.approx(1 / minutes)
    assert "low_coverage" in before["warnings"]

    register(client, "M-1", intervalSeconds=minutes * 60)

    after = ask(client, "performance/V-1")
    assert after["vehicleCoverage"] == after["meterCoverage"] == pytest.approx(1)
    assert "low_coverage" not in after["warnings"]
    [item] = ask(client, "performance")["items"]
    assert item["meterCoverage"] == pytest.approx(1)
    assert "low_coverage" not in item["warnings"]


def test_the_fleet_s_coverage_counts_the_devices_that_are_known_or_registered(
    client: FlaskClient, sql: Connection
) -> None:
    hear(client, "V-1", 1)
    hear(client, "V-2", 15)
    register(client, "V-2", intervalSeconds=900)
    register(client, "V-3", intervalSeconds=900)
    refresh(sql)

    fleet = ask(client, "fleet")

    minutes = HOURS * 60
    expected = minutes + 2 * minutes / 15
    assert fleet["vehicleReadings"] == minutes + minutes / 15
    assert fleet["vehicleCoverage"] == pytest.approx((minutes + minutes / 15) / expected)
    assert fleet["meterCoverage"] is None
    for hour in fleet["items"]:
        assert hour["vehicleCoverage"] == pytest.approx(64 / (60 + 2 * 4))


def test_a_site_s_fleet_is_that_of_its_devices(client: FlaskClient, sql: Connection) -> None:
    for site in ("north", "south"):
        client.put(f"/v1/sites/{site}", json={})
    sites: dict[int, str | None] = {1: "north", 2: "south", 3: None}
    for number, of_site in sites.items():
        hear(client, f"V-{number}", 1, step=0.05 * number)
        hear(client, f"M-{number}", 1, step=0.1 * number)
        plug(client, f"V-{number}", f"M-{number}")
        register(client, f"V-{number}", site=of_site)
        register(client, f"M-{number}", site=of_site)
    register(client, "V-4", site="north")
    refresh(sql)

    items = {item["vehicleId"]: item for item in ask(client, "performance")["items"]}
    north = ask(client, "performance", site="north")["items"]
    assert [item["vehicleId"] for item in north if item["vehicleReadings"]] == ["V-1"]
    assert north[0] == items["V-1"]
    assert ask(client, "performance", site="nowhere")["items"] == []
    whole, of_north, of_south, of_none = (
        ask(client, "fleet", **query)
        for query in ({}, {"site": "north"}, {"site": "south"}, {"site": "nowhere"})
    )
    for name, of_one in (("kwhConsumedAc", "kwhConsumedAc"), ("kwhDeliveredDc", "kwhDeliveredDc")):
        assert of_north[name] == pytest.approx(items["V-1"][of_one])
        assert of_south[name] == pytest.approx(items["V-2"][of_one])
        assert of_none[name] is None
        assert whole[name] == pytest.approx(sum(item[of_one] or 0 for item in items.values()))
    assert of_north["efficiency"] == pytest.approx(0.5)
    # V-4 never reported: half of the readings of the site's vehicles are missing.
    assert of_north["vehicleCoverage"] == pytest.approx(0.5)
    assert of_north["meterCoverage"] == pytest.approx(1)
    assert of_north["vehicles"] == {"reporting": 0, "stale": 1, "silent": 1}
    assert of_none["vehicles"] == {"reporting": 0, "stale": 0, "silent": 0}


def test_the_list_of_a_site_goes_on_by_its_cursor_alone(
    client: FlaskClient, sql: Connection
) -> None:
    client.put("/v1/sites/north", json={})
    for number in range(4):
        hear(client, f"V-{number}", 30)
        register(client, f"V-{number}", site="north" if number != 2 else None)
    refresh(sql)

    first = ask(client, "performance", site="north", limit=2)
    response = client.get("/v1/analytics/performance", query_string={"after": first["next"]})

    assert [item["vehicleId"] for item in first["items"]] == ["V-0", "V-1"]
    assert response.json
    assert [item["vehicleId"] for item in response.json["items"]] == ["V-3"]


def test_a_power_that_is_too_low_shows_as_implausible_steps(client: FlaskClient) -> None:
    # 6 kWh a quarter of an hour are 24 kW.
    hear(client, "M-1", 15, step=6)
    hear(client, "V-1", 15, step=5)
    plug(client, "V-1", "M-1")
    register(client, "M-1", intervalSeconds=900, maxKw=11)
    low = ask(client, "performance/V-1")
    assert "implausible_step" in low["warnings"]
    assert low["counterResets"] > 0

    register(client, "M-1", intervalSeconds=900, maxKw=24)

    enough = ask(client, "performance/V-1")
    assert "implausible_step" not in enough["warnings"]
    assert enough["kwhConsumedAc"] == pytest.approx(6 * 15)
