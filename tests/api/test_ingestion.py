from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from tests.conftest import rows
from tests.examples import ago, meter, vehicle

ROUTE = "/v1/ingestion"
NDJSON = "application/x-ndjson"


def post(client: FlaskClient, body: Any, route: str = "", **kwargs: Any) -> TestResponse:
    return client.post(ROUTE + route, json=body, **kwargs)


def result(accepted: int, duplicates: int = 0) -> dict[str, Any]:
    """Return the answer to a request in which nothing is wrong."""
    return {
        "accepted": accepted,
        "duplicates": duplicates,
        "conflicts": 0,
        "rejected": 0,
        "errors": [],
        "errorsOmitted": 0,
    }


def history(sql: Connection) -> list[tuple[Any, ...]]:
    return rows(sql, "SELECT meter_id, kwh_consumed_ac FROM meter_telemetry ORDER BY 1, time")


@pytest.mark.parametrize(
    ("route", "reading"), [("/meter", meter()), ("/vehicle", vehicle()), ("", meter())]
)
def test_a_reading_is_stored_and_acknowledged(
    client: FlaskClient, route: str, reading: dict[str, Any]
) -> None:
    response = post(client, reading, route)

    assert response.status_code == 201
    assert response.json == result(accepted=1, duplicates=0)


def test_a_reading_goes_to_history_and_latest(client: FlaskClient, sql: Connection) -> None:
    post(client, meter(), "/meter")

    for table in ("meter_telemetry", "meters_latest"):
        assert rows(sql, f"SELECT meter_id, kwh_consumed_ac, voltage FROM {table}") == [
            ("M-123", 1050.5, 230.0)
        ]


def test_a_retry_is_a_success_and_stores_nothing_twice(
    client: FlaskClient, sql: Connection
) -> None:
    post(client, meter())

    retry = post(client, meter())

    assert retry.status_code == 200
    assert retry.json == result(accepted=0, duplicates=1)
    assert len(history(sql)) == 1


def test_the_first_of_two_readings_of_one_moment_wins_in_history_and_latest(
    client: FlaskClient, sql: Connection
) -> None:
    response = post(client, [meter(kwhConsumedAc=1), meter(kwhConsumedAc=2)])

    assert response.json
    assert (response.json["accepted"], response.json["conflicts"]) == (1, 1)
    assert history(sql) == [("M-123", 1.0)]
    assert rows(sql, "SELECT kwh_consumed_ac FROM meters_latest") == [(1.0,)]


def test_latest_never_moves_back(client: FlaskClient, sql: Connection) -> None:
    post(client, meter(kwhConsumedAc=20, timestamp=ago(minutes=1)))

    late = post(client, meter(kwhConsumedAc=10, timestamp=ago(hours=3)))

    assert late.status_code == 201
    assert len(history(sql)) == 2
    assert rows(sql, "SELECT kwh_consumed_ac FROM meters_latest") == [(20.0,)]


def test_each_reading_of_a_mixed_array_goes_where_its_id_says(
    client: FlaskClient, sql: Connection
) -> None:
    response = post(client, [meter(), vehicle(), meter(meterId="M-2")])

    assert response.json == result(accepted=3, duplicates=0)
    assert [row[0] for row in history(sql)] == ["M-123", "M-2"]
    assert rows(sql, "SELECT vehicle_id FROM vehicle_telemetry") == [("V-999",)]


def test_a_bad_reading_costs_its_neighbours_nothing(client: FlaskClient, sql: Connection) -> None:
    readings = [meter(meterId=f"M-{number}") for number in range(1000)]
    readings[500]["voltage"] = -1

    response = post(client, readings, "/meter")

    assert response.status_code == 207
    assert response.json == {
        "accepted": 999,
        "duplicates": 0,
        "conflicts": 0,
        "rejected": 1,
        "errors": [
            {
                "index": 500,
                "field": "voltage",
                "message": "Must be from 0 to 1e+100; -1 came.",
            }
        ],
        "errorsOmitted": 0,
    }
    assert len(history(sql)) == 999


def test_atomic_stores_all_or_nothing(client: FlaskClient, sql: Connection) -> None:
    response = post(client, [meter(), meter(voltage="230")], "?atomic=true")

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"] == [
        {"index": 1, "field": "voltage", "message": 'Not a number; "230" came.'}
    ]
    assert history(sql) == []


def test_a_request_of_invalid_readings_alone_is_a_problem_that_names_the_fields(
    client: FlaskClient,
) -> None:
    response = post(client, vehicle(soc=101, kwhDeliveredDc=None))

    assert response.status_code == 422
    assert response.mimetype == "application/problem+json"
    assert response.json
    assert {(error["index"], error["field"]) for error in response.json["errors"]} == {
        (0, "soc"),
        (0, "kwhDeliveredDc"),
    }


def test_a_register_is_kept_where_other_values_are_unknown(client: FlaskClient) -> None:
    unknown = vehicle(soc=None, batteryTemp=None)

    assert client.post("/v1/ingestion", json=[unknown, meter(voltage=None)]).status_code == 201

    status = client.get("/v1/status/vehicles/V-999").get_json()
    assert (status["soc"], status["kwhDeliveredDc"], status["batteryTemp"]) == (None, 850.2, None)
    assert client.get("/v1/status/meters/M-123").get_json()["voltage"] is None
    again = client.post("/v1/ingestion", json=[unknown, vehicle(soc=45, batteryTemp=None)])
    assert again.get_json()["duplicates"] == again.get_json()["conflicts"] == 1


def test_ndjson_is_stored_line_by_line(client: FlaskClient, sql: Connection) -> None:
    lines = [json.dumps(meter()), "{broken", "", json.dumps(meter(meterId="M-2"))]

    response = client.post(ROUTE, data="\n".join(lines), content_type=NDJSON)

    assert response.status_code == 207
    assert response.json
    assert (response.json["accepted"], response.json["errors"][0]["index"]) == (2, 1)
    assert len(history(sql)) == 2


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip"])
def test_a_gzipped_body_is_read(client: FlaskClient, name: str) -> None:
    response = client.post(
        ROUTE,
        data=gzip.compress(json.dumps([meter()]).encode()),
        content_type="application/json",
        headers={"Content-Encoding": name},
    )

    assert response.status_code == 201


@pytest.mark.parametrize("path", ["/v1/ingestion/meter", "/v1/ingestion/mapping"])
def test_gzip_without_its_header_is_said_to_look_like_gzip(client: FlaskClient, path: str) -> None:
    response = client.post(path, data=gzip.compress(b"{}"), content_type="application/json")

    assert response.status_code == 400
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:not-json"
    assert "begins with 1f 8b, as gzip does" in response.json["detail"]


def test_a_gzipped_body_may_have_been_put_together(client: FlaskClient) -> None:
    lines = (json.dumps(meter(meterId=f"M-{number}")).encode() + b"\n" for number in range(100))
    response = client.post(
        ROUTE,
        data=b"".join(map(gzip.compress, lines)),
        content_type="application/x-ndjson",
        headers={"Content-Encoding": "gzip"},
    )

    assert response.status_code == 201
    assert response.json
    assert response.json["accepted"] == 100


def test_an_empty_encoding_is_none(client: FlaskClient) -> None:
    response = client.post(ROUTE, json=meter(), headers={"Content-Encoding": ""})

    assert response.status_code == 201


def zipped(content: bytes) -> bytes:
    """Compress without the time, which would make another name of a test in each process."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b"{", {}, 400, "not-json"),
        (b"", {}, 400, "not-json"),
        (b"[{]", {}, 400, "not-json"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "broken-encoding"),
        (zipped(b"{}")[:-4], {"Content-Encoding": "gzip"}, 400, "broken-encoding"),
        (zipped(b"{}") + b"{}", {"Content-Encoding": "gzip"}, 400, "broken-encoding"),
        (zipped(b"") * 101, {"Content-Encoding": "gzip"}, 400, "broken-encoding"),
        (b"{}", {"Content-Encoding": "br"}, 415, "unsupported-media-type"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b" " * 10_000_001, {}, 413, "too-large"),
        (zipped(b" " * 10_000_001), {"Content-Encoding": "gzip"}, 413, "too-large"),
        (zipped(b" " * 5_000_001) * 2, {"Content-Encoding": "gzip"}, 413, "too-large"),
        (b"[" + b"1," * 10_000 + b"1]", {}, 413, "too-many-readings"),
        (b"[]", {}, 422, "no-reading"),
        (b"1", {}, 422, "no-reading"),
        (b"null", {}, 422, "no-reading"),
        (b"{}", {}, 422, "invalid-readings"),
    ],
)
def test_what_is_no_request_is_a_problem(
    client: FlaskClient, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    response = client.post(
        f"{ROUTE}/meter", data=body, headers={"Content-Type": "application/json"} | headers
    )

    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert response.json
    assert response.json["type"] == f"urn:fleetwatt:problem:{kind}"


def test_a_body_that_says_it_is_too_large_is_not_read(client: FlaskClient) -> None:
    unread = {"wsgi.input": None, "CONTENT_LENGTH": "10000001"}

    response = client.post(
        f"{ROUTE}/meter", content_type="application/json", environ_overrides=unread
    )

    assert response.status_code == 413


@pytest.mark.parametrize(
    "timestamp",
    [ago(days=-1), pytest.param(ago(days=1096), marks=pytest.mark.community)],
    ids=["from the future", "before retention"],
)
def test_a_timestamp_that_would_do_harm_is_refused(client: FlaskClient, timestamp: str) -> None:
    response = post(client, [meter(timestamp=timestamp)])

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "timestamp"


@pytest.mark.parametrize("offset", ["+00:00", "-23:14", "+23:59"])
def test_every_offset_is_understood(client: FlaskClient, sql: Connection, offset: str) -> None:
    timestamp = f"{ago(days=3)[:10]}T12:00:00{offset}"
    assert post(client, [meter(timestamp=timestamp)]).status_code == 201
    assert post(client, meter(meterId="M-2", timestamp=timestamp)).status_code == 201

    stored = rows(sql, "SELECT DISTINCT time FROM meter_telemetry")
    assert stored == [(datetime.fromisoformat(timestamp),)]


def test_a_clock_that_is_a_little_ahead_is_accepted(client: FlaskClient) -> None:
    assert post(client, meter(timestamp=ago(minutes=-4))).status_code == 201
