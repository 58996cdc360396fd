from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import psycopg2
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fleetwatt.database.pool import Row, fetch
from tests.examples import ago
from tests.examples import meter as reading


def plug(client: FlaskClient, meter: str, **fields: Any) -> TestResponse:
    return client.post(
        "/v1/ingestion/mapping", json={"vehicleId": "V-1", "meterId": meter} | fields
    )


def ask(client: FlaskClient, **query: Any) -> Any:
    response = client.get("/v1/mappings", query_string=query)
    assert response.status_code == 200, response.text
    return response.json


def listed(client: FlaskClient, **query: str) -> list[tuple[str, Any, Any]]:
    return [
        (mapping["meterId"], mapping["validFrom"], mapping["validTo"])
        for mapping in ask(client, **query)["items"]
    ]


def test_a_first_mapping_is_valid_since_ever(client: FlaskClient) -> None:
    response = plug(client, "M-1")

    assert response.status_code == 201
    assert response.json == {
        "vehicleId": "V-1",
        "meterId": "M-1",
        "validFrom": None,
        "validTo": None,
        "warnings": ["unknown_meter", "unknown_vehicle"],
    }


def test_a_device_that_has_reported_or_is_registered_is_not_warned_of(
    client: FlaskClient,
) -> None:
    client.post("/v1/ingestion/meter", json=reading(meterId="M-1"))
    assert (plug(client, "M-1").json or {})["warnings"] == ["unknown_vehicle"]

    client.put("/v1/devices/vehicles/V-1", json={})
    assert (plug(client, "M-1").json or {})["warnings"] == []
    assert (plug(client, "M-2").json or {})["warnings"] == ["unknown_meter"]


def test_a_first_mapping_is_valid_from_when_it_says(client: FlaskClient) -> None:
    start = ago(days=2)

    assert plug(client, "M-1", validFrom=start).status_code == 201
    assert listed(client) == [("M-1", start, None)]


def test_the_same_mapping_again_changes_nothing(client: FlaskClient) -> None:
    start = ago(days=2)
    plug(client, "M-1", validFrom=start)

    assert plug(client, "M-1", validFrom=start).status_code == 200
    assert plug(client, "M-1").status_code == 200
    assert listed(client) == [("M-1", start, None)]


def test_a_later_mapping_closes_the_open_one(client: FlaskClient) -> None:
    change = ago(hours=1)
    plug(client, "M-1")

    assert plug(client, "M-2", validFrom=change).status_code == 201
    assert listed(client) == [("M-1", None, change), ("M-2", change, None)]


def test_a_later_mapping_starts_now_unless_it_says_otherwise(client: FlaskClient) -> None:
    plug(client, "M-1")
    plug(client, "M-2")

    (_, _, closed), (_, opened, _) = listed(client)
    assert closed == opened is not None


def test_later_mappings_at_the_same_moment_follow_one_another(client: FlaskClient) -> None:
    plug(client, "M-0")
    meters = [f"M-{number}" for number in range(1, 31)]
    with ThreadPoolExecutor(8) as clients:
        responses = clients.map(lambda meter: plug(client.application.test_client(), meter), meters)

    assert {response.status_code for response in responses} == {201}
    history = listed(client)
    assert sorted(mapping[0] for mapping in history) == sorted(["M-0", *meters])
    assert all(earlier[2] == later[1] for earlier, later in pairwise(history))


def test_a_mapping_from_now_on_is_a_conflict_where_the_open_one_begins_later(
    client: FlaskClient,
) -> None:
    plug(client, "M-1", validFrom=ago(days=-1))

    for meter in ("M-1", "M-2"):
        assert plug(client, meter).status_code == 409
    assert listed(client) == [("M-1", ago(days=-1), None)]


def test_a_mapping_that_does_not_start_after_the_open_one_is_a_conflict(
    client: FlaskClient,
) -> None:
    start = ago(days=2)
    plug(client, "M-1", validFrom=start)

    for earlier in (start, ago(days=3)):
        response = plug(client, "M-2", validFrom=earlier)
        assert response.status_code == 409
        assert response.mimetype == "application/problem+json"
    assert listed(client) == [("M-1", start, None)]


def test_a_mapping_into_a_closed_one_is_a_conflict(client: FlaskClient) -> None:
    plug(client, "M-1", validFrom=ago(days=2))
    client.delete("/v1/ingestion/mapping/V-1")

    assert plug(client, "M-2", validFrom=ago(days=1)).status_code == 409
    assert plug(client, "M-2").status_code == 201


def test_unplugging_closes_the_open_mapping(client: FlaskClient) -> None:
    plug(client, "M-1")

    response = client.delete("/v1/ingestion/mapping/V-1")

    assert response.status_code == 200
    assert response.json
    assert response.json["validTo"] is not None
    assert client.delete("/v1/ingestion/mapping/V-1").status_code == 404


def test_an_unplugging_whose_answer_is_lost_is_not_done_twice(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would find nothing any more, and say that the vehicle had been on no meter."""
    plug(client, "M-1")

    answers: list[list[Row]] = []

    def lose_the_answer(*question: Any) -> list[Row]:
        answers.append(fetch(*question))
        if len(answers) == 1:
            raise psycopg2.OperationalError("server closed the connection unexpectedly")
        return answers[-1]

    with monkeypatch.context() as losing:
        losing.setattr("fleetwatt.database.client.fetch", lose_the_answer)
        assert client.delete("/v1/ingestion/mapping/V-1").status_code == 503

    (mapping,) = ask(client, vehicleId="V-1")["items"]
    assert mapping["validTo"] is not None


def test_mappings_are_listed_by_vehicle_or_meter(client: FlaskClient) -> None:
    plug(client, "M-1")
    plug(client, "M-2", vehicleId="V-2")

    assert [mapping[0] for mapping in listed(client)] == ["M-1", "M-2"]
    assert [mapping[0] for mapping in listed(client, vehicleId="V-2")] == ["M-2"]
    assert [mapping[0] for mapping in listed(client, meterId="M-1")] == ["M-1"]


def test_pages_of_mappings_hold_each_once_and_in_order(client: FlaskClient) -> None:
    for vehicle in ("V-2", "V-1", "V-3"):
        for meter, days in (("M-1", None), ("M-2", 3), ("M-3", 2)):
            plug(client, meter, vehicleId=vehicle, validFrom=days and ago(days=days))
    everything = ask(client)
    assert len(everything["items"]) == 9
    assert everything["next"] is None

    for limit in (1, 2, 3, 9, 10):
        items: list[Any] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            page = ask(client, **query)
            assert 1 <= len(page["items"]) <= limit
            items += page["items"]
            if page["next"] is None:
                break
            query["after"] = page["next"]
        assert items == everything["items"]


def test_pages_of_one_meters_mappings_go_on_with_that_meter(client: FlaskClient) -> None:
    for vehicle, meter in (("V-1", "M-1"), ("V-2", "M-2"), ("V-3", "M-1")):
        plug(client, meter, vehicleId=vehicle)

    first = ask(client, meterId="M-1", limit=1)
    second = ask(client, meterId="M-1", limit=1, after=first["next"])

    assert [mapping["vehicleId"] for mapping in first["items"] + second["items"]] == ["V-1", "V-3"]
    assert second["next"] is None


@pytest.mark.parametrize("nonsense", ["", "nonsense", "bm8=", "W10=", "ü"])
def test_what_no_page_gave_as_its_next_is_refused(client: FlaskClient, nonsense: str) -> None:
    response = client.get("/v1/mappings", query_string={"after": nonsense})

    assert response.status_code == 422
    assert response.json
    (error,) = response.json["errors"]
    assert (error["field"], error["message"]) == ("after", "Not a `next` of an earlier page.")


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2024-02-09T10:00:00+16:00",
        "2024-02-09T10:00:00+01:00",
    ],
)
def test_a_cursor_whose_time_is_not_in_utc_is_none_that_a_page_gave(
    client: FlaskClient, time: str
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(["V-1", time]).encode()).decode()

    response = client.get("/v1/mappings", query_string={"after": cursor})

    assert response.status_code == 422


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_a_cursor_may_be_as_early_or_late_as_a_mapping(client: FlaskClient, time: str) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(["V-1", time]).encode()).decode()

    assert ask(client, after=cursor) == {"items": [], "next": None}


@pytest.mark.parametrize(
    "body",
    [
        rb'{"vehicleId": "V-1", "meterId": "M-1", "\ud800": 1}',
        rb'{"vehicleId": "V-1", "meterId": "M-1", "validFrom": "\ud800"}',
        rb'{"vehicleId": "V-\udc00", "meterId": "M-1"}',
        rb'{"vehicleId": "V-1", "meterId": {"\ud800": []}}',
        rb'["\ud800"]',
    ],
)
def test_half_a_surrogate_pair_is_no_json(client: FlaskClient, body: bytes) -> None:
    response = client.post("/v1/ingestion/mapping", data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.json
    assert "half a surrogate pair" in response.json["detail"]


def test_a_whole_surrogate_pair_is_a_name_that_no_mapping_has(client: FlaskClient) -> None:
    body = rb'{"vehicleId": "V-1", "meterId": "M-1", "\ud83d\ude97": 1}'

    response = client.post("/v1/ingestion/mapping", data=body, content_type="application/json")

    assert response.status_code == 422


def test_two_vehicles_may_share_a_meter(client: FlaskClient) -> None:
    assert plug(client, "M-1").status_code == 201
    assert plug(client, "M-1", vehicleId="V-2").status_code == 201


def test_unplugging_takes_back_what_would_begin_later(client: FlaskClient) -> None:
    plug(client, "M-1")
    assert plug(client, "M-2", validFrom=ago(hours=-1)).status_code == 201
    assert plug(client, "M-3").status_code == 409

    closed = client.delete("/v1/ingestion/mapping/V-1").json

    assert closed
    assert closed["meterId"] == "M-1"
    assert [mapping[0] for mapping in listed(client)] == ["M-1"]
    assert plug(client, "M-3").status_code == 201


def test_unplugging_a_vehicle_that_is_on_no_meter_yet_takes_its_mapping_back(
    client: FlaskClient,
) -> None:
    plug(client, "M-1", validFrom="9999-12-31T00:00:00Z")

    response = client.delete("/v1/ingestion/mapping/V-1")

    assert response.status_code == 200
    assert response.json
    assert response.json["validFrom"] == response.json["validTo"] == "9999-12-31T00:00:00Z"
    assert listed(client) == []


@pytest.mark.parametrize("encoding", ["Identity", ""])
def test_identity_is_no_encoding_however_it_is_spelled(client: FlaskClient, encoding: str) -> None:
    mapping = {"vehicleId": "V-1", "meterId": "M-1"}

    answer = client.post(
        "/v1/ingestion/mapping", json=mapping, headers={"Content-Encoding": encoding}
    )

    assert answer.status_code == 201


def test_a_name_that_a_mapping_has_twice_is_named(client: FlaskClient) -> None:
    body = b'{"vehicleId": "V-1", "meterId": "M-1", "meterId": "M-2"}'

    response = client.post("/v1/ingestion/mapping", data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.json
    assert "'meterId' more than once" in response.json["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/vnd.api+json"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
def test_a_mapping_that_does_not_come_as_plain_json_is_refused_for_that(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    body = b'{"vehicleId": "V-1", "meterId": "M-1"}'

    response = client.post("/v1/ingestion/mapping", data=body, headers=headers)

    assert response.status_code == 415
    assert response.json
    assert "send" in response.json["detail"]
    assert listed(client) == []
