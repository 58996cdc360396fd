"""People say later which meter a vehicle was on, and what was said before is kept."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from tests.conftest import rows
from tests.examples import NOW, ago, at, meter, vehicle

Span = tuple[str, str | None, str | None]


def plug(
    client: FlaskClient, meter_id: str, *, replace: bool | None = None, **fields: Any
) -> TestResponse:
    query = {} if replace is None else {"replace": json.dumps(replace)}
    body = {"vehicleId": "V-1", "meterId": meter_id} | fields
    return client.post("/v1/ingestion/mapping", query_string=query, json=body)


def unplug(client: FlaskClient, **query: Any) -> TestResponse:
    return client.delete("/v1/ingestion/mapping/V-1", query_string=query)


def listed(client: FlaskClient) -> list[Span]:
    response = client.get("/v1/mappings", query_string={"vehicleId": "V-1"})
    assert response.json
    return [
        (mapping["meterId"], mapping["validFrom"], mapping["validTo"])
        for mapping in response.json["items"]
    ]


def changes(client: FlaskClient, **query: Any) -> list[Any]:
    response = client.get("/v1/mappings/changes", query_string=query)
    assert response.status_code == 200, response.text
    assert response.json
    items: list[Any] = response.json["items"]
    return items


def test_a_mapping_ends_when_it_says(client: FlaskClient) -> None:
    start, end = ago(days=3), ago(days=2)

    response = plug(client, "M-1", validFrom=start, validTo=end)

    assert response.status_code == 201
    assert response.json == {
        "vehicleId": "V-1",
        "meterId": "M-1",
        "validFrom": start,
        "validTo": end,
        "warnings": ["unknown_meter", "unknown_vehicle"],
    }
    assert listed(client) == [("M-1", start, end)]


def test_a_first_mapping_that_only_ends_is_valid_since_ever(client: FlaskClient) -> None:
    end = ago(days=2)

    assert plug(client, "M-1", validTo=end).status_code == 201
    assert listed(client) == [("M-1", None, end)]


def test_the_same_mapping_with_an_end_again_changes_nothing(client: FlaskClient) -> None:
    span: dict[str, Any] = {"validFrom": ago(days=3), "validTo": ago(days=-1)}
    plug(client, "M-1", **span)
    before = changes(client)

    for again in (span, {"validTo": span["validTo"]}):
        for replace in (False, True):
            response = plug(client, "M-1", replace=replace, **again)
            assert response.status_code == 200
            assert response.json
            assert response.json["validFrom"] == span["validFrom"]
    assert changes(client) == before


@pytest.mark.parametrize(
    ("start", "end"), [(timedelta(days=2), timedelta(days=2)), (timedelta(1), timedelta(2))]
)
def test_an_end_that_does_not_follow_the_start_is_rejected(
    client: FlaskClient, start: timedelta, end: timedelta
) -> None:
    response = plug(client, "M-1", validFrom=at(NOW - start), validTo=at(NOW - end))

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "validTo"
    assert listed(client) == []


def test_a_past_end_without_a_start_is_rejected_where_the_vehicle_has_been_mapped(
    client: FlaskClient,
) -> None:
    plug(client, "M-1")

    response = plug(client, "M-2", validTo=ago(days=1), replace=True)

    assert response.status_code == 422
    assert response.json
    assert response.json["errors"][0]["field"] == "validTo"
    assert listed(client) == [("M-1", None, None)]


def test_a_past_mapping_beside_others_needs_no_room(client: FlaskClient) -> None:
    times = [ago(days=days) for days in (5, 4, 3, 2)]
    plug(client, "M-1", validFrom=times[0], validTo=times[1])
    plug(client, "M-3", validFrom=times[2])

    assert plug(client, "M-2", validFrom=times[1], validTo=times[2]).status_code == 201
    assert plug(client, "M-0", validFrom=ago(days=9), validTo=times[0]).status_code == 201
    assert listed(client) == [
        ("M-0", ago(days=9), times[0]),
        ("M-1", times[0], times[1]),
        ("M-2", times[1], times[2]),
        ("M-3", times[2], None),
    ]


def test_a_span_of_an_open_mapping_is_a_conflict_until_it_may_be_cut(client: FlaskClient) -> None:
    """The vehicle would else be on no meter after the span, without anybody having said so."""
    start, end = ago(hours=2), ago(hours=1)
    plug(client, "M-1")

    for replace in (None, False):
        response = plug(client, "M-2", validFrom=start, validTo=end, replace=replace)
        assert response.status_code == 409
        assert response.mimetype == "application/problem+json"
    assert listed(client) == [("M-1", None, None)]

    assert plug(client, "M-2", validFrom=start, validTo=end, replace=True).status_code == 201
    assert listed(client) == [("M-1", None, start), ("M-2", start, end), ("M-1", end, None)]


def test_an_open_mapping_in_the_past_replaces_all_that_follows(client: FlaskClient) -> None:
    plug(client, "M-1", validFrom=ago(days=5), validTo=ago(days=4))
    plug(client, "M-2", validFrom=ago(days=3), validTo=ago(days=2))
    plug(client, "M-3", validFrom=ago(days=-1))
    start = ago(days=4, hours=12)

    assert plug(client, "M-4", validFrom=start).status_code == 409
    assert plug(client, "M-4", validFrom=start, replace=True).status_code == 201
    assert listed(client) == [("M-1", ago(days=5), start), ("M-4", start, None)]


def test_replacing_from_now_on_takes_back_what_is_planned(client: FlaskClient) -> None:
    plug(client, "M-1")
    plug(client, "M-2", validFrom=ago(days=-1))
    assert plug(client, "M-3").status_code == 409

    response = plug(client, "M-3", replace=True)

    assert response.status_code == 201
    assert response.json
    now = response.json["validFrom"]
    assert now is not None
    assert listed(client) == [("M-1", None, now), ("M-3", now, None)]


@pytest.mark.parametrize("value", ["yes", "", "TRUE"])
def test_replace_is_true_or_false(client: FlaskClient, value: str) -> None:
    response = client.post(
        "/v1/ingestion/mapping",
        query_string={"replace": value},
        json={"vehicleId": "V-1", "meterId": "M-1"},
    )

    assert response.status_code == 422


def test_replacing_leaves_one_vehicles_mappings_alone_that_are_anothers(
    client: FlaskClient,
) -> None:
    plug(client, "M-1", vehicleId="V-2")
    plug(client, "M-1")

    plug(client, "M-2", validFrom=ago(days=2), validTo=ago(days=1), replace=True)

    response = client.get("/v1/mappings", query_string={"vehicleId": "V-2"})
    assert response.json
    (other,) = response.json["items"]
    assert (other["validFrom"], other["validTo"]) == (None, None)


def test_random_replacements_leave_what_the_last_of_each_time_said(client: FlaskClient) -> None:
    chance = random.Random(4)
    days: list[str | None] = [None] * 12
    for number in range(60):
        first, last = sorted(chance.sample(range(13), 2))
        bounds = {
            "validFrom": at(NOW - timedelta(days=12 - first)),
            "validTo": at(NOW - timedelta(days=12 - last)),
        }
        meter_id = f"M-{number}"
        assert plug(client, meter_id, replace=True, **bounds).status_code == 201
        days[first:last] = [meter_id] * (last - first)

        found: list[str | None] = [None] * 12
        for name, start, end in listed(client):
            assert start is not None
            assert end is not None
            begin, until = (
                12 - round((NOW - datetime.fromisoformat(bound)) / timedelta(days=1))
                for bound in (start, end)
            )
            found[begin:until] = [name] * (until - begin)
        assert found == days


def test_replacements_at_once_take_turns(client: FlaskClient) -> None:
    def replace(number: int) -> int:
        bounds = {"validFrom": ago(days=number % 7 + 1), "validTo": ago(days=number % 5, hours=12)}
        own_client = client.application.test_client()
        return plug(own_client, f"M-{number}", replace=True, **bounds).status_code

    with ThreadPoolExecutor(8) as clients:
        codes = list(clients.map(replace, range(40)))

    # Some of the spans end before they start.
    assert set(codes) == {201, 422}
    spans = [(start, end) for _, start, end in listed(client)]
    assert all(
        earlier_end is not None and start is not None and earlier_end <= start
        for (_, earlier_end), (start, _) in pairwise(spans)
    )


def test_a_vehicle_was_unplugged_at_a_past_time(client: FlaskClient) -> None:
    start, end = ago(days=3), ago(days=1)
    plug(client, "M-1", validFrom=start)

    response = unplug(client, at=end)

    assert response.status_code == 200
    assert response.json
    assert (response.json["validFrom"], response.json["validTo"]) == (start, end)
    assert listed(client) == [("M-1", start, end)]
    assert unplug(client, at=end).status_code == 404


def test_unplugging_at_a_time_leaves_what_the_vehicle_was_on_later(client: FlaskClient) -> None:
    change = ago(days=2)
    plug(client, "M-1")
    plug(client, "M-2", validFrom=change)

    assert unplug(client, at=ago(days=4)).status_code == 200
    assert listed(client) == [("M-1", None, ago(days=4)), ("M-2", change, None)]


def test_unplugging_when_a_mapping_began_removes_it(client: FlaskClient) -> None:
    start = ago(days=3)
    plug(client, "M-1", validFrom=start, validTo=ago(days=2))

    response = unplug(client, at=start)

    assert response.status_code == 200
    assert response.json
    assert response.json["validFrom"] == response.json["validTo"] == start
    assert listed(client) == []


def test_a_vehicle_is_not_unplugged_when_it_was_on_no_meter(client: FlaskClient) -> None:
    plug(client, "M-1", validFrom=ago(days=3), validTo=ago(days=2))

    for days in (4, 2, 1):
        response = unplug(client, at=ago(days=days))
        assert response.status_code == 404
        assert response.json
        assert ago(days=days) in response.json["detail"]
    assert unplug(client, at="yesterday").status_code == 422
    assert len(listed(client)) == 1


def test_each_change_is_kept_with_what_was_there_before(client: FlaskClient) -> None:
    start, end = ago(hours=2), ago(hours=1)
    plug(client, "M-1")
    plug(client, "M-2", validFrom=start, validTo=end, replace=True)
    unplug(client, at=start)

    found = changes(client, vehicleId="V-1")

    whole = {"validFrom": None, "validTo": None}
    inner = {"validFrom": start, "validTo": end}
    assert [
        (change["meterId"], change["before"], change["after"]) for change in reversed(found)
    ] == [
        ("M-1", None, whole),
        ("M-1", whole, {"validFrom": None, "validTo": start}),
        ("M-1", None, {"validFrom": end, "validTo": None}),
        ("M-2", None, inner),
        ("M-2", inner, None),
    ]
    assert {change["author"] for change in found} == {"keys are off"}
    times = [change["changedAt"] for change in found]
    assert times == sorted(times, reverse=True)


def test_a_change_by_sql_is_kept_with_its_role(client: FlaskClient, sql: Connection) -> None:
    plug(client, "M-1")
    with sql.cursor() as cursor:
        cursor.execute("UPDATE vehicle_meter_mapping SET meter_id = 'M-2'")
    ((role,),) = rows(sql, "SELECT session_user")

    added, removed = changes(client)[:2]

    assert (added["meterId"], added["before"]) == ("M-2", None)
    assert (removed["meterId"], removed["after"]) == ("M-1", None)
    assert added["author"] == removed["author"] == role


def test_pages_of_changes_hold_each_once_the_newest_first(client: FlaskClient) -> None:
    for number in range(4):
        plug(client, f"M-{number}", validFrom=ago(days=9 - number))
    everything = changes(client)
    assert len(everything) == 7
    assert [change["meterId"] for change in changes(client, meterId="M-2")] == ["M-2"] * 2
    assert changes(client, vehicleId="V-2") == []

    for limit in (1, 3, 7):
        found: list[Any] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            page: Any = client.get("/v1/mappings/changes", query_string=query).json
            found += page["items"]
            if page["next"] is None:
                break
            query["after"] = page["next"]
        assert found == everything


@pytest.mark.parametrize("after", ["0", "-1", "x", str(2**63)])
def test_what_no_page_of_changes_gave_is_rejected(client: FlaskClient, after: str) -> None:
    assert client.get("/v1/mappings/changes", query_string={"after": after}).status_code == 422


def test_an_amended_mapping_changes_answers_about_the_past_and_their_tags(
    client: FlaskClient,
) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    readings = []
    for minute in range(121):
        time = at(end - timedelta(hours=2) + timedelta(minutes=minute))
        readings += [
            meter(meterId="M-1", kwhConsumedAc=100 + minute / 10, timestamp=time),
            meter(meterId="M-2", kwhConsumedAc=500 + minute / 5, timestamp=time),
            vehicle(vehicleId="V-1", kwhDeliveredDc=10 + minute / 12, timestamp=time),
        ]
    assert client.post("/v1/ingestion", json=readings).status_code == 201
    plug(client, "M-1")
    paths = {
        "/v1/analytics/performance/V-1": {"end": at(end), "hours": "2"},
        "/v1/analytics/performance": {"end": at(end), "hours": "2"},
        "/v1/analytics/fleet": {"end": at(end), "hours": "2"},
    }

    def answers() -> dict[str, tuple[str | None, Any]]:
        found = {}
        for path, query in paths.items():
            response = client.get(path, query_string=query)
            assert response.status_code == 200, response.text
            found[path] = response.headers.get("ETag"), response.json
        return found

    before = answers()
    half = at(end - timedelta(hours=1))
    plug(client, "M-2", validFrom=half, validTo=at(end), replace=True)
    amended = answers()

    one = "/v1/analytics/performance/V-1"
    assert before[one][1]["kwhConsumedAc"] == pytest.approx(12, abs=0.2)
    assert amended[one][1]["kwhConsumedAc"] == pytest.approx(18, abs=0.4)
    for path in ("/v1/analytics/performance/V-1", "/v1/analytics/performance"):
        old_tag, new_tag = before[path][0], amended[path][0]
        assert old_tag
        assert new_tag != old_tag
        for tag, status in ((old_tag, 200), (new_tag, 304)):
            response = client.get(path, query_string=paths[path], headers={"If-None-Match": tag})
            assert response.status_code == status

    unplug(client, at=half)
    assert answers()[one][1]["kwhConsumedAc"] == pytest.approx(6, abs=0.4)
    # As it was said at first: the same figures again, and the same tags.
    plug(client, "M-1", replace=True, validFrom=at(end - timedelta(days=9)))
    plug(client, "M-1", replace=True, validTo=None, validFrom=at(end - timedelta(days=99)))
    assert answers()[one] == before[one]
