from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from fleetwatt.lifecycle.corrections import MOST_CHANGES
from tests.conftest import refresh, rows
from tests.examples import ago, meter, vehicle

NOON = "2026-11-02T12:00:00Z"
BEFORE = "2026-11-02T11:59:30Z"


def minute(number: int) -> str:
    return f"2026-11-02T12:{number:02}:00Z"


@pytest.fixture
def history(client: FlaskClient) -> FlaskClient:
    """Ten minutes of a meter from noon on, 0.1 kWh each, at 230 V."""
    readings = [
        meter(kwhConsumedAc=100 + number / 10, voltage=230, timestamp=minute(number))
        for number in range(10)
    ]
    assert client.post("/v1/ingestion", json=readings).status_code == 201
    return client


def replace(client: FlaskClient, time: str, **changes: Any) -> TestResponse:
    body = {"kwhConsumedAc": 100.25, "voltage": 231, "reason": "a typing error"} | changes
    return client.put(f"/v1/readings/meters/M-123/{time}", json=body)


def remove(client: FlaskClient, start: str, end: str, **query: Any) -> TestResponse:
    asked = {"start": start, "end": end, "reason": "nonsense after a boot"} | query
    return client.delete("/v1/readings/meters/M-123", query_string=asked)


def series(client: FlaskClient) -> dict[str, tuple[float, float]]:
    answer = client.get(
        "/v1/analytics/meters/M-123/series",
        query_string={"start": BEFORE, "end": minute(10), "bucket": "raw"},
    )
    return {
        item["start"]: (item["lastKwhConsumedAc"], item["avgVoltage"])
        for item in answer.get_json()["items"]
        if item["readings"]
    }


def latest(client: FlaskClient) -> Any:
    return client.get("/v1/status/meters/M-123").get_json()


def corrections(client: FlaskClient, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/readings/corrections", query_string=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.get_json()["items"]
    return items


def test_a_replaced_reading_has_the_new_values(history: FlaskClient) -> None:
    response = replace(history, minute(3))

    assert response.status_code == 200
    assert series(history)[minute(3)] == (100.25, 231)


def test_a_replacement_keeps_who_made_it_when_why_and_what_was_there(history: FlaskClient) -> None:
    made = replace(history, minute(3)).get_json()

    assert made["madeAt"] > NOON
    assert made | {"id": 0, "madeAt": ""} == {
        "id": 0,
        "stream": "meter",
        "device": "M-123",
        "action": "replace",
        "start": minute(3),
        "end": minute(3),
        "readings": 1,
        "changes": [
            {
                "timestamp": minute(3),
                "before": {"kwhConsumedAc": 100.3, "voltage": 230},
                "after": {"kwhConsumedAc": 100.25, "voltage": 231},
            }
        ],
        "reason": "a typing error",
        "author": "keys are off",
        "madeAt": "",
        "undoneAt": None,
        "undoneBy": None,
    }
    assert corrections(history) == [made]


def test_a_reading_that_is_not_stored_can_not_be_replaced(history: FlaskClient) -> None:
    response = replace(history, minute(30))

    assert response.status_code == 404
    assert corrections(history) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"voltage": "high"}, "voltage"),
        ({"voltage": -1}, "voltage"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"meterId": "M-123"}, "meterId"),
        ({"timestamp": NOON}, "timestamp"),
    ],
)
def test_an_invalid_replacement_is_rejected_by_the_field(
    history: FlaskClient, changes: dict[str, Any], field: str
) -> None:
    response = replace(history, minute(3), **changes)

    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_a_time_that_is_none_is_rejected_by_name(history: FlaskClient) -> None:
    response = replace(history, "noon")

    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == "timestamp"


def test_a_time_may_have_an_offset(history: FlaskClient) -> None:
    assert replace(history, "2026-11-02T13:03:00+01:00").status_code == 200
    assert series(history)[minute(3)] == (100.25, 231)


def test_replacing_the_newest_reading_changes_the_status(history: FlaskClient) -> None:
    replace(history, minute(9))

    assert (latest(history)["kwhConsumedAc"], latest(history)["voltage"]) == (100.25, 231)


def test_removed_readings_are_gone_and_the_spans_end_is_not(history: FlaskClient) -> None:
    response = remove(history, minute(3), minute(6))

    assert response.status_code == 200
    assert response.get_json() == {"removed": 3}
    assert list(series(history)) == [minute(number) for number in (0, 1, 2, 6, 7, 8, 9)]


def test_a_dry_run_counts_and_removes_nothing(history: FlaskClient) -> None:
    response = history.delete(
        "/v1/readings/meters/M-123",
        query_string={"start": minute(3), "end": minute(6), "dryRun": "true"},
    )

    assert response.get_json() == {"removed": 3}
    assert len(series(history)) == 10
    assert corrections(history) == []


def test_removing_nothing_leaves_no_record(history: FlaskClient) -> None:
    assert remove(history, minute(30), minute(40)).get_json() == {"removed": 0}
    assert corrections(history) == []


@pytest.mark.parametrize("missing", ["start", "end", "reason"])
def test_a_removal_needs_its_span_and_a_reason(history: FlaskClient, missing: str) -> None:
    query = {"start": minute(3), "end": minute(6), "reason": "nonsense"}
    del query[missing]
    response = history.delete("/v1/readings/meters/M-123", query_string=query)

    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [missing]
    assert len(series(history)) == 10


def test_removing_the_newest_readings_moves_the_status_back(history: FlaskClient) -> None:
    remove(history, minute(5), minute(10))

    assert latest(history)["timestamp"] == minute(4)
    history.post("/v1/ingestion", json=meter(kwhConsumedAc=101, timestamp=minute(20)))
    assert latest(history)["timestamp"] == minute(20)


def test_removing_all_readings_of_a_device_ends_its_status(history: FlaskClient) -> None:
    remove(history, minute(0), minute(10))

    assert history.get("/v1/status/meters/M-123").status_code == 404


def test_aggregates_are_right_at_once(history: FlaskClient, sql: Connection) -> None:
    refresh(sql)
    remove(history, minute(3), minute(6))
    replace(history, minute(9), kwhConsumedAc=105)

    answer = history.get(
        "/v1/analytics/meters/M-123/series",
        query_string={"start": BEFORE, "end": "2026-11-02T13:00:00Z", "bucket": "1h"},
    ).get_json()

    hour = answer["items"][1]
    assert (hour["readings"], hour["lastKwhConsumedAc"]) == (7, 105)


def test_an_etag_changes_with_a_correction(history: FlaskClient) -> None:
    url = f"/v1/analytics/meters/M-123/series?start={minute(0)}&end={minute(10)}"
    tag = history.get(url).headers["ETag"]

    replace(history, minute(9))

    assert history.get(url, headers={"If-None-Match": tag}).status_code == 200


def undo(client: FlaskClient, correction: int) -> TestResponse:
    return client.post(f"/v1/readings/corrections/{correction}/undo")


def test_undoing_a_removal_brings_its_readings_back(history: FlaskClient) -> None:
    before, status = series(history), latest(history)
    remove(history, minute(3), minute(10))
    (made,) = corrections(history)

    undone = undo(history, made["id"])

    assert undone.status_code == 200
    assert undone.get_json()["undoneAt"] is not None
    assert undone.get_json()["undoneBy"] == "keys are off"
    assert series(history) == before
    assert latest(history)["timestamp"] == status["timestamp"]


def test_undoing_a_replacement_brings_the_values_back(history: FlaskClient) -> None:
    before = series(history)
    made = replace(history, minute(9)).get_json()

    assert undo(history, made["id"]).status_code == 200
    assert series(history) == before
    assert latest(history)["kwhConsumedAc"] == 100.9


def test_a_correction_can_not_be_undone_twice(history: FlaskClient) -> None:
    made = replace(history, minute(9)).get_json()
    undo(history, made["id"])

    response = undo(history, made["id"])

    assert response.status_code == 409
    assert response.get_json()["type"] == "urn:fleetwatt:problem:already-undone"


def test_corrections_of_the_same_readings_are_undone_from_the_newest_back(
    history: FlaskClient,
) -> None:
    before = series(history)
    first = replace(history, minute(4)).get_json()
    remove(history, minute(3), minute(6))
    second = corrections(history)[0]

    response = undo(history, first["id"])
    assert response.status_code == 409
    assert str(second["id"]) in response.get_json()["detail"]

    assert undo(history, second["id"]).status_code == 200
    assert undo(history, first["id"]).status_code == 200
    assert series(history) == before


def test_an_unknown_correction_can_not_be_undone(history: FlaskClient) -> None:
    assert undo(history, 999_999_999).status_code == 404
    assert undo(history, 10**30).status_code in {404, 422}


def test_corrections_are_listed_in_pages_the_newest_first(history: FlaskClient) -> None:
    for number in (1, 2, 3):
        replace(history, minute(number))

    first = history.get("/v1/readings/corrections?limit=2").get_json()
    rest = history.get(f"/v1/readings/corrections?limit=2&after={first['next']}").get_json()

    starts = [item["start"] for item in first["items"] + rest["items"]]
    assert starts == [minute(3), minute(2), minute(1)]
    assert rest["next"] is None


def test_corrections_of_one_device_are_listed_alone(history: FlaskClient) -> None:
    history.post("/v1/ingestion", json=vehicle(vehicleId="M-123", timestamp=ago(minutes=1)))
    body = {"soc": 50, "kwhDeliveredDc": 1, "batteryTemp": 20, "reason": "a typing error"}
    history.put(f"/v1/readings/vehicles/M-123/{ago(minutes=1)}", json=body)
    replace(history, minute(1))

    assert [item["stream"] for item in corrections(history, meterId="M-123")] == ["meter"]
    assert [item["stream"] for item in corrections(history, vehicleId="M-123")] == ["vehicle"]
    assert corrections(history, meterId="M-9") == []


def test_a_long_removal_lists_its_first_readings_and_counts_all(client: FlaskClient) -> None:
    readings = [
        meter(timestamp=f"2026-11-02T{12 + number // 60}:{number % 60:02}:00Z")
        for number in range(MOST_CHANGES + 20)
    ]
    client.post("/v1/ingestion", json=readings)
    remove(client, NOON, "2026-11-02T23:00:00Z")

    (made,) = corrections(client)
    assert made["readings"] == MOST_CHANGES + 20
    assert len(made["changes"]) == MOST_CHANGES
    assert {change["after"] for change in made["changes"]} == {None}


@pytest.mark.community
def test_readings_in_a_columnstore_chunk_are_corrected_and_brought_back(
    history: FlaskClient, sql: Connection
) -> None:
    before = series(history)
    rows(sql, "SELECT compress_chunk(chunk) FROM show_chunks('meter_telemetry') AS chunk")

    assert replace(history, minute(1)).status_code == 200
    assert remove(history, minute(3), minute(6)).get_json() == {"removed": 3}
    assert len(series(history)) == 7
    for made in corrections(history):
        assert undo(history, made["id"]).status_code == 200
    assert series(history) == before
