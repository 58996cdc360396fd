"""A made-up stream, from its readings to every answer. Run by tests/made_up/test_made_up.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.serving import make_server

from fleetwatt.cli import fleetwatt
from tests.conftest import refresh, rows
from tests.examples import Reading, ago, meter
from tests.fuzz import decoder

HOUR = "2026-03-02T10"


def charger(**changes: Any) -> Reading:
    return {
        "chargerId": "C-7",
        "kwhDispensed": 12.5,
        "connectorTemp": 21.5,
        "timestamp": ago(minutes=1),
    } | changes


def without_temperature(**changes: Any) -> Reading:
    reading = charger(**changes)
    del reading["connectorTemp"]
    return reading


def answer(client: FlaskClient, path: str, **query: Any) -> Any:
    response = client.get(path, query_string=query)
    assert response.status_code == 200, response.text
    return response.json


def post(client: FlaskClient, route: str, *readings: Reading) -> Any:
    response = client.post(f"/v1/ingestion{route}", json=list(readings))
    assert response.status_code == 201, response.text
    return response.json


def faults(client: FlaskClient, reading: Reading) -> list[str]:
    response = client.post("/v1/ingestion/charger", json=reading)
    assert response.status_code == 422
    assert response.json
    return [error["field"] for error in response.json["errors"]]


def test_a_reading_is_stored_and_its_status_answered(client: FlaskClient) -> None:
    assert post(client, "/charger", charger())["accepted"] == 1

    status = answer(client, "/v1/status/chargers/C-7")
    assert (status["kwhDispensed"], status["connectorTemp"]) == (12.5, 21.5)
    assert answer(client, "/v1/status/chargers")["items"][0]["chargerId"] == "C-7"


@pytest.mark.parametrize("reading", [without_temperature(), charger(connectorTemp=None)])
@pytest.mark.parametrize("route", ["/charger", ""])
def test_an_optional_measure_is_unknown_where_it_is_left_out_or_null(
    client: FlaskClient, route: str, reading: Reading
) -> None:
    known = charger(chargerId="C-8")

    assert post(client, route, reading, known)["accepted"] == 2

    assert answer(client, "/v1/status/chargers/C-7")["connectorTemp"] is None
    assert answer(client, "/v1/status/chargers/C-8")["connectorTemp"] == 21.5


def test_a_reading_that_lacks_it_again_is_a_duplicate_and_one_that_has_it_a_conflict(
    client: FlaskClient,
) -> None:
    stored, known = without_temperature(), charger(connectorTemp=20)
    post(client, "/charger", stored)

    again = client.post("/v1/ingestion/charger", json=[stored, known]).json

    assert again
    assert (again["duplicates"], again["conflicts"]) == (1, 1)
    [error] = again["errors"]
    assert error["field"] == "connectorTemp"


def test_a_measure_that_is_not_optional_is_missed(client: FlaskClient) -> None:
    reading = charger()
    del reading["kwhDispensed"]

    assert faults(client, reading) == ["kwhDispensed"]
    assert faults(client, charger(connectorTemp=201)) == ["connectorTemp"]
    assert faults(client, without_temperature(voltage=230)) == ["voltage"]


def test_readings_of_all_streams_come_in_one_request(client: FlaskClient) -> None:
    posted = post(client, "", meter(), without_temperature(), charger(timestamp=ago(minutes=2)))

    assert (posted["accepted"], posted["rejected"]) == (3, 0)


@pytest.mark.parametrize("refreshed", [False, True])
@pytest.mark.parametrize("bucket", ["5m", "1h"])
def test_a_series_has_its_energy_and_the_statistics_of_what_is_known(
    client: FlaskClient, sql: Connection, bucket: str, *, refreshed: bool
) -> None:
    post(
        client,
        "/charger",
        charger(kwhDispensed=10, connectorTemp=20, timestamp=f"{HOUR}:00:30Z"),
        without_temperature(kwhDispensed=11, timestamp=f"{HOUR}:01:30Z"),
        charger(kwhDispensed=12.5, connectorTemp=30, timestamp=f"{HOUR}:02:30Z"),
    )
    if refreshed:
        refresh(sql)

    [item] = answer(
        client,
        "/v1/analytics/chargers/C-7/series",
        start=f"{HOUR}:00:00Z",
        end=f"{HOUR}:04:59Z",
        bucket=bucket,
    )["items"]

    assert (item["kwhDispensed"], item["lastKwhDispensed"], item["readings"]) == (2.5, 12.5, 3)
    statistics = [item[f"{kind}ConnectorTemp"] for kind in ("min", "avg", "max")]
    assert statistics == [20, 25, 30]


def test_the_fleet_counts_who_reports(client: FlaskClient) -> None:
    post(client, "/charger", charger(), charger(chargerId="C-8", timestamp=ago(minutes=30)))

    fleet = answer(client, "/v1/analytics/fleet")

    assert fleet["chargers"] == {"reporting": 1, "stale": 1, "silent": 0}
    assert fleet["meters"] == fleet["vehicles"] == {"reporting": 0, "stale": 0, "silent": 0}


def test_a_charger_is_registered_and_goes_by_its_own_interval(client: FlaskClient) -> None:
    post(client, "/charger", charger(timestamp=ago(minutes=30)))
    for device in ("C-7", "C-8"):
        registered = client.put(f"/v1/devices/chargers/{device}", json={"intervalSeconds": 900})
        assert registered.status_code == 201, registered.text

    assert [item["id"] for item in answer(client, "/v1/devices/chargers")["items"]] == [
        "C-7",
        "C-8",
    ]
    assert answer(client, "/v1/status/chargers", stale="true")["items"] == []
    fresh = answer(client, "/v1/analytics/fleet")["chargers"]
    assert fresh == {"reporting": 1, "stale": 0, "silent": 1}


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_simulator_sends_its_readings(served: str, sql: Connection) -> None:
    asked = ["simulate", "--url", served, "--vehicles", "10", "--since", "20m", "--json"]

    done = CliRunner().invoke(fleetwatt, asked)

    assert done.exit_code == 0, done.output
    account = json.loads(done.stdout)["streams"]["charger"]
    assert account["made"] == 10 * 20
    assert account["rejected"] == account["unanswered"] == 0
    stored = "SELECT count(*), count(connector_temp) FROM charger_telemetry"
    [(readings, known)] = rows(sql, stored)
    assert readings == account["accepted"]
    assert 0 < known < readings


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_exported_is_imported_as_it_was(
    client: FlaskClient, sql: Connection, database_url: str, tmp_path: Path, suffix: str
) -> None:
    post(client, "/charger", charger(), without_temperature(timestamp=ago(minutes=2)))
    file = str(tmp_path / f"chargers.{suffix}")
    stored = "SELECT * FROM charger_telemetry ORDER BY time"
    before = rows(sql, stored)
    environment = {"FLEETWATT_DATABASE_URL": database_url}

    exported = CliRunner().invoke(fleetwatt, ["export", "charger", file], env=environment)
    rows(sql, "DELETE FROM charger_telemetry RETURNING time")
    imported = CliRunner().invoke(fleetwatt, ["import", file], env=environment)

    assert (exported.exit_code, imported.exit_code) == (0, 0), imported.output
    assert rows(sql, stored) == before


def test_a_correction_may_leave_an_optional_measure_out(client: FlaskClient) -> None:
    time = ago(minutes=1)
    post(client, "/charger", charger(timestamp=time))

    corrected = client.put(
        f"/v1/readings/chargers/C-7/{time}", json={"kwhDispensed": 13, "reason": "misread"}
    )

    assert corrected.status_code == 200, corrected.text
    assert answer(client, "/v1/status/chargers/C-7")["connectorTemp"] is None
    [correction] = answer(client, "/v1/readings/corrections", chargerId="C-7")["items"]
    assert correction["changes"][0]["before"]["connectorTemp"] == 21.5


def test_openapi_says_what_may_be_left_out(client: FlaskClient) -> None:
    schemas = answer(client, "/openapi.json")["components"]["schemas"]

    assert set(schemas["ChargerReading"]["required"]) == {"chargerId", "kwhDispensed", "timestamp"}
    assert "connectorTemp" in schemas["ChargerStatus"]["required"]


def test_an_audit_finds_nothing(client: FlaskClient, sql: Connection, database_url: str) -> None:
    post(client, "/charger", without_temperature(timestamp=ago(hours=2)), charger())
    refresh(sql, datetime.now(UTC))

    done = CliRunner().invoke(fleetwatt, ["audit"], env={"FLEETWATT_DATABASE_URL": database_url})

    assert done.exit_code == 0, done.output
    assert "charger: 1 devices" in done.output


def test_the_decoder_answers_as_the_rules_say_whatever_comes() -> None:
    assert decoder.run(5_000, seed=4_000)["accepted"] > 0
