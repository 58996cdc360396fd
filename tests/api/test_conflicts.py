"""Readings that come again: with other values, and after a correction has removed them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.security import keys
from tests.conftest import rows
from tests.examples import ago, meter, vehicle


def post(client: FlaskClient, body: Any, query: str = "") -> TestResponse:
    return client.post(f"/v1/ingestion{query}", json=body)


def answer(response: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = response.get_json()
    return found


def voltages(sql: Connection) -> list[float]:
    return [value for (value,) in rows(sql, "SELECT voltage FROM meter_telemetry ORDER BY time")]


@pytest.mark.parametrize("query", ["", "?atomic=true"])
def test_another_value_under_a_stored_id_and_time_is_a_conflict(
    client: FlaskClient, sql: Connection, query: str
) -> None:
    post(client, meter(voltage=230))

    response = post(client, [meter(meterId="M-2"), meter(voltage=231)], query)

    assert response.status_code == 201
    assert answer(response) == {
        "accepted": 1,
        "duplicates": 0,
        "conflicts": 1,
        "rejected": 0,
        "errors": [
            {
                "index": 1,
                "field": "voltage",
                "message": "Another value is stored under this id and time: 230.0.",
            }
        ],
        "errorsOmitted": 0,
    }
    assert voltages(sql) == [230, 230]


def test_a_conflict_alone_is_no_failure(client: FlaskClient) -> None:
    post(client, vehicle(soc=45, batteryTemp=20))

    response = post(client, vehicle(soc=46, batteryTemp=21))

    assert response.status_code == 200
    assert answer(response)["conflicts"] == 1
    fields = [error["field"] for error in answer(response)["errors"]]
    assert fields == ["soc", "batteryTemp"]


def test_in_one_request_the_first_counts_and_the_other_is_a_conflict(client: FlaskClient) -> None:
    response = post(client, [meter(voltage=1), meter(voltage=1), meter(voltage=2)])

    found = answer(response)
    assert (found["accepted"], found["duplicates"], found["conflicts"]) == (1, 1, 1)
    assert [error["index"] for error in found["errors"]] == [2]


def test_an_index_counts_the_readings_of_all_streams_and_the_invalid_ones(
    client: FlaskClient,
) -> None:
    post(client, meter(voltage=230))
    readings = [vehicle(), meter(soc=1), vehicle(vehicleId="V-2"), meter(voltage=231)]

    response = post(client, readings)

    assert response.status_code == 207
    assert [(error["index"], error["field"]) for error in answer(response)["errors"]] == [
        (1, "soc"),
        (3, "voltage"),
    ]


def test_an_index_counts_the_readings_of_all_streams(client: FlaskClient) -> None:
    post(client, meter(voltage=230))

    response = post(client, [vehicle(), vehicle(vehicleId="V-2"), meter(voltage=231), meter()])

    assert [error["index"] for error in answer(response)["errors"]] == [2]


def test_a_hundred_conflicts_are_listed_and_the_others_counted(client: FlaskClient) -> None:
    post(client, [meter(meterId=f"M-{number}", voltage=1) for number in range(150)])

    response = post(client, [meter(meterId=f"M-{number}", voltage=2) for number in range(150)])

    found = answer(response)
    assert (found["conflicts"], len(found["errors"]), found["errorsOmitted"]) == (150, 100, 50)


def test_faults_past_the_hundredth_are_counted_in_a_problem_too(client: FlaskClient) -> None:
    response = post(client, [meter(voltage="high") for _ in range(150)])

    assert response.status_code == 422
    assert (len(answer(response)["errors"]), answer(response)["errorsOmitted"]) == (100, 50)


def test_conflicts_are_counted_in_the_metrics(client: FlaskClient) -> None:
    def counted() -> float:
        text = client.get("/metrics").text
        line = 'fleetwatt_readings_total{outcome="conflict",stream="meter"} '
        return next(float(sample[len(line) :]) for sample in text.splitlines() if line in sample)

    post(client, meter(voltage=230))
    before = counted()

    post(client, meter(voltage=231))

    assert counted() == before + 1


def test_a_key_that_may_not_read_gets_no_stored_value(config: Config, client: FlaskClient) -> None:
    post(client, meter(voltage=230))
    app: Flask = create_app(Config(database_url=config.database_url, auth="required"))
    database = app.extensions["fleetwatt"]
    messages = {}
    for scopes in (["ingest"], ["ingest", "read"]):
        prefix, whole, hashed = keys.generate()
        database.execute_once(
            "create_key",
            prefix=prefix,
            hash=hashed,
            name="",
            scopes=scopes,
            devices=None,
            lifetime=None,
        )
        headers = {"Authorization": f"Bearer {whole}"}
        response = app.test_client().post("/v1/ingestion", json=meter(voltage=231), headers=headers)
        (messages[len(scopes)],) = (error["message"] for error in answer(response)["errors"])
    database.close()

    assert messages == {
        1: "Another value is stored under this id and time.",
        2: "Another value is stored under this id and time: 230.0.",
    }


def remove(client: FlaskClient) -> None:
    span = {"start": ago(minutes=2), "end": ago(minutes=0), "reason": "nonsense"}
    removed = client.delete("/v1/readings/meters/M-123", query_string=span)
    assert removed.get_json() == {"removed": 1}


def test_a_removed_reading_that_comes_again_is_rejected(
    client: FlaskClient, sql: Connection
) -> None:
    post(client, meter())
    remove(client)

    response = post(client, [meter(meterId="M-2"), meter()])

    assert response.status_code == 207
    found = answer(response)
    assert (found["accepted"], found["rejected"]) == (1, 1)
    assert [(error["index"], error["field"]) for error in found["errors"]] == [(1, "timestamp")]
    assert "correction" in found["errors"][0]["message"]
    assert len(voltages(sql)) == 1
    assert client.get("/v1/status/meters/M-123").status_code == 404


def test_a_request_of_removed_readings_alone_is_invalid(client: FlaskClient) -> None:
    post(client, meter())
    remove(client)

    response = post(client, meter())

    assert response.status_code == 422
    assert answer(response)["errors"][0]["field"] == "timestamp"


def test_atomic_stores_nothing_where_one_reading_was_removed(
    client: FlaskClient, sql: Connection
) -> None:
    post(client, meter())
    remove(client)

    response = post(client, [meter(meterId="M-2"), meter()], "?atomic=true")

    assert response.status_code == 422
    assert [error["index"] for error in answer(response)["errors"]] == [1]
    assert voltages(sql) == []


def test_other_readings_of_the_span_are_stored(client: FlaskClient) -> None:
    post(client, meter())
    remove(client)

    assert post(client, meter(timestamp=ago(minutes=1, seconds=7))).status_code == 201


def test_once_the_removal_is_undone_the_reading_is_a_duplicate(client: FlaskClient) -> None:
    post(client, meter())
    remove(client)
    (made,) = client.get("/v1/readings/corrections").get_json()["items"]
    client.post(f"/v1/readings/corrections/{made['id']}/undo")

    assert answer(post(client, meter()))["duplicates"] == 1


def test_a_replaced_reading_that_comes_again_is_a_conflict(client: FlaskClient) -> None:
    post(client, meter(voltage=230))
    body = {"kwhConsumedAc": 1050.5, "voltage": 231, "reason": "a typing error"}
    client.put(f"/v1/readings/meters/M-123/{ago(minutes=1)}", json=body)

    assert answer(post(client, meter(voltage=230)))["conflicts"] == 1
    assert answer(post(client, meter(voltage=231)))["duplicates"] == 1


def test_unknown_fields_are_ignored_where_a_request_asks(client: FlaskClient) -> None:
    reading = meter(rssi=-70)

    assert post(client, reading).status_code == 422
    assert post(client, reading, "?unknownFields=reject").status_code == 422
    assert post(client, reading, "?unknownFields=ignore").status_code == 201
    refused = post(client, reading, "?unknownFields=drop")
    assert answer(refused)["errors"][0]["field"] == "unknownFields"


def test_unknown_fields_are_ignored_where_the_service_is_set_so(config: Config) -> None:
    app = create_app(Config(database_url=config.database_url, unknown_fields="ignore"))
    client = app.test_client()

    assert post(client, meter(rssi=-70)).status_code == 201
    assert post(client, vehicle(rssi=-70), "?unknownFields=reject").status_code == 422
    app.extensions["fleetwatt"].close()


def test_a_bad_number_costs_its_own_reading_alone(client: FlaskClient, sql: Connection) -> None:
    body = json.dumps([meter(meterId="M-1"), meter(voltage=float("nan")), meter(meterId="M-3")])

    response = client.post("/v1/ingestion", data=body, content_type="application/json")

    assert response.status_code == 207
    assert [(error["index"], error["field"]) for error in answer(response)["errors"]] == [
        (1, "voltage")
    ]
    assert len(voltages(sql)) == 2
