from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.api.test_summary import END, MINUTE, START, ac, dc, plug, post, summary
from tests.conftest import refresh, rows
from tests.examples import NOW, at, meter, vehicle

HOUR = timedelta(hours=1)


def ask(client: FlaskClient, route: str, **query: Any) -> dict[str, Any]:
    response = client.get(f"/v1/analytics/{route}", query_string={"end": at(END)} | query)
    assert response.status_code == 200, response.json
    assert response.json
    return dict(response.json)


def ids(page: dict[str, Any]) -> list[str]:
    return [item["vehicleId"] for item in page["items"]]


def refused(client: FlaskClient, field: str, route: str = "performance", **query: Any) -> str:
    """Return what is said against an argument, the only one at fault."""
    response = client.get(f"/v1/analytics/{route}", query_string=query)
    assert response.status_code == 422
    assert response.json
    (error,) = response.json["errors"]
    assert error["field"] == field
    return str(error["message"])


@pytest.fixture
def day(client: FlaskClient) -> None:
    """Five vehicles; the efficiency of the last two is not known."""
    for name, ac_kwh, dc_kwh in (("A", 10, 9), ("B", 10, 8), ("C", 10, 9)):
        post(client, ac({START + MINUTE: 100, END: 100 + ac_kwh}, f"M-{name}"))
        post(client, dc({START + MINUTE: 50, END: 50 + dc_kwh}, name))
        plug(client, f"M-{name}", to=name)
    post(client, dc({START + MINUTE: 50, END: 57}, "D"))
    plug(client, "M-E", to="E")


def test_a_plus_that_a_url_has_made_a_space_of_is_told_how_to_write(client: FlaskClient) -> None:
    response = client.get("/v1/analytics/fleet?end=2026-11-12T00:00:00+02:00")

    assert response.status_code == 422
    assert response.json
    assert "%2B" in response.json["errors"][0]["message"]


@pytest.mark.usefixtures("day")
def test_every_vehicle_is_summarized_as_by_the_route_about_one(client: FlaskClient) -> None:
    page = ask(client, "performance")

    assert (page["windowStart"], page["windowEnd"]) == (at(START), at(END))
    assert page["items"] == [summary(client, name) for name in "ABCDE"]
    assert page["next"] is None


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("efficiency", "BACDE"),
        ("-efficiency", "ACBDE"),
        ("kwhDeliveredDc", "DBACE"),
        ("-kwhDeliveredDc", "ACBDE"),
        ("vehicleReadings", "EABCD"),
        ("-meterCoverage", "ABCED"),
        ("vehicleId", "ABCDE"),
        ("-vehicleId", "EDCBA"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_in_any_order_hold_each_vehicle_once_with_nulls_last_and_ties_by_id(
    client: FlaskClient, sort: str, order: str, limit: int
) -> None:
    seen: list[str] = []
    after = None
    for _ in range(5):
        page = ask(client, "performance", sort=sort, limit=limit, after=after)
        assert len(page["items"]) <= limit
        seen += ids(page)
        after = page["next"]
        if after is None:
            break

    assert seen == list(order)
    assert after is None


@pytest.mark.usefixtures("day")
def test_vehicles_are_found_by_a_low_efficiency_or_a_warning(client: FlaskClient) -> None:
    assert ids(ask(client, "performance", efficiencyBelow=0.85)) == ["B"]
    assert ids(ask(client, "performance", efficiencyBelow=0.8)) == []
    assert ids(ask(client, "performance", warning="no_mapping")) == ["D"]
    assert ids(ask(client, "performance", warning="no_readings")) == ["E"]
    assert ids(ask(client, "performance", warning="unmetered_energy")) == ["D"]
    assert ids(ask(client, "performance", warning="low_coverage", limit=2)) == ["A", "B"]


def test_a_fleet_without_vehicles_has_no_summaries_and_no_figures(client: FlaskClient) -> None:
    page = ask(client, "performance")
    fleet = ask(client, "fleet", hours=1)

    assert (page["items"], page["next"]) == ([], None)
    assert fleet["kwhConsumedAc"] is None
    assert fleet["vehicleCoverage"] is None
    assert fleet["vehicleReadings"] == 0
    assert [hour["start"] for hour in fleet["hours"]] == [at(END - HOUR)]


def test_the_end_is_cut_to_the_hour_and_the_answer_says_so(client: FlaskClient) -> None:
    for route in ("performance", "fleet"):
        answer = ask(client, route, end=at(END + 59 * MINUTE), hours=2)

        assert answer["windowEnd"] == at(END)
        assert answer["windowStart"] == at(END - 2 * HOUR)


def test_without_an_end_the_window_ends_with_the_last_whole_hour(client: FlaskClient) -> None:
    response = client.get("/v1/analytics/fleet")

    assert response.json
    end = datetime.fromisoformat(response.json["windowEnd"])
    assert (end.minute, end.second, end.microsecond) == (0, 0, 0)
    assert NOW - HOUR < end <= datetime.now(NOW.tzinfo)
    assert len(response.json["hours"]) == 24


@pytest.mark.parametrize("refreshed", [False, True])
def test_a_reading_on_the_hour_is_of_the_window_that_ends_there(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    post(client, dc({START: 1, START + MINUTE: 2, END: 4, END + MINUTE: 8}))
    if refreshed:
        refresh(sql)

    (item,) = ask(client, "performance")["items"]
    assert (item["kwhDeliveredDc"], item["vehicleReadings"]) == (2, 2)
    fleet = ask(client, "fleet")
    assert (fleet["kwhDeliveredDc"], fleet["vehicleReadings"]) == (2, 2)
    assert [hour["vehicleReadings"] for hour in fleet["hours"]] == [1, *[0] * 22, 1]


def test_a_reading_on_the_start_of_a_window_of_a_whole_chunk_is_not_of_it(
    client: FlaskClient,
) -> None:
    midnight = START.replace(hour=0)
    post(client, dc({midnight: 1, midnight + MINUTE: 2, midnight + HOUR: 4}))

    fleet = ask(client, "fleet", end=at(midnight + 24 * HOUR))
    assert (fleet["kwhDeliveredDc"], fleet["vehicleReadings"]) == (2, 2)


@pytest.mark.parametrize("refreshed", [False, True])
def test_energy_counts_in_the_hour_in_which_a_step_ends(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    half = START + 30 * MINUTE
    post(client, ac({half: 10, half + HOUR: 11, half + 4 * HOUR: 15, half + 5 * HOUR: 14}))
    if refreshed:
        refresh(sql)

    fleet = ask(client, "fleet", end=at(START + 6 * HOUR), hours=6)
    assert [hour["kwhConsumedAc"] for hour in fleet["hours"]] == [None, 1, None, None, 4, 0]
    assert [hour["counterResets"] for hour in fleet["hours"]] == [0, 0, 0, 0, 0, 1]
    assert fleet["kwhConsumedAc"] == 5


def test_energy_of_the_fleet_tells_all_of_it_from_what_belongs_to_vehicles(
    client: FlaskClient,
) -> None:
    for name, kwh in (("M-1", 10), ("M-2", 5)):
        post(client, ac({START + MINUTE: 100, END: 100 + kwh}, name))
    for name, kwh in (("V-1", 8), ("V-2", 3)):
        post(client, dc({START + MINUTE: 100, END: 100 + kwh}, name))
    plug(client, "M-1")

    fleet = ask(client, "fleet")
    assert (fleet["kwhConsumedAc"], fleet["kwhConsumedAcMapped"]) == (15, 10)
    assert (fleet["kwhDeliveredDc"], fleet["kwhDeliveredDcMetered"]) == (11, 8)
    assert fleet["efficiency"] == 0.8
    assert fleet["avgBatteryTemp"] == 20
    assert fleet["vehicleCoverage"] == fleet["meterCoverage"] == pytest.approx(4 / 2880)


def test_vehicles_that_moved_or_share_a_meter_are_summarized_likewise(client: FlaskClient) -> None:
    change = START + 12 * HOUR
    times = [START + MINUTE, change - MINUTE, change, END]
    for name in ("M-1", "M-2"):
        post(client, ac(dict(zip(times, [10, 15, 16, 22], strict=True)), name))
    for name, values in (("V-1", [0, 1, 2, 5]), ("V-2", [0, 2, 3, 6])):
        post(client, dc(dict(zip(times, values, strict=True)), name))
    plug(client, "M-1")
    plug(client, "M-2", change)
    plug(client, "M-1", to="V-2")

    items = ask(client, "performance")["items"]
    assert items == [summary(client, name) for name in ("V-1", "V-2")]
    assert items[0]["meterIds"] == ["M-1", "M-2"]
    assert ids(ask(client, "performance", warning="shared_meter")) == ["V-1", "V-2"]
    fleet = ask(client, "fleet")
    assert fleet["kwhConsumedAcMapped"] == pytest.approx(
        sum(item["kwhConsumedAc"] for item in items)
    )


def test_devices_are_counted_by_their_newest_reading(client: FlaskClient) -> None:
    for name, age in (("now", MINUTE), ("earlier", 2 * HOUR), ("once", timedelta(days=3))):
        post(client, [vehicle(vehicleId=name, timestamp=at(datetime.now(NOW.tzinfo) - age))])
    post(client, [meter(timestamp=at(datetime.now(NOW.tzinfo) - 10 * MINUTE))])

    fleet = ask(client, "fleet", end=at(NOW))
    assert fleet["vehicles"] == {"reporting": 1, "stale": 1, "silent": 1}
    assert fleet["meters"] == {"reporting": 0, "stale": 1, "silent": 0}
    patient = ask(client, "fleet", end=at(NOW), staleAfter=3600)
    assert patient["meters"] == {"reporting": 1, "stale": 0, "silent": 0}


@pytest.mark.community
@pytest.mark.parametrize("joined", [False, True], ids=["hours", "six hours"])
def test_a_late_reading_counts_from_the_next_refresh_on_and_until_then_the_answer_says_so(
    client: FlaskClient, sql: Connection, joined: bool
) -> None:
    late = START + 9 * HOUR + 30 * MINUTE
    post(client, ac({START + MINUTE: 10, END - MINUTE: 20}))
    post(client, dc({START + MINUTE: 10, END - MINUTE: 20}))
    refresh(sql)
    before = ask(client, "fleet")
    assert before["exactUntil"] == at(END)

    post(client, ac({late: 4}))

    assert ask(client, "fleet")["exactUntil"] == at(START + 9 * HOUR)
    assert ask(client, "performance")["exactUntil"] == at(START + 9 * HOUR)
    # Windows that don't have the hour are as exact as they were.
    assert ask(client, "fleet", hours=12)["exactUntil"] == at(END)
    refresh(sql, six_hourly=joined)
    after = ask(client, "fleet")
    assert after["exactUntil"] == at(END)
    assert after["meterReadings"] == before["meterReadings"] + 1
    assert (before["kwhConsumedAc"], after["kwhConsumedAc"]) == (10, 16)
    assert (before["counterResets"], after["counterResets"]) == (0, 1)


@pytest.mark.community
def test_six_hours_that_retention_has_dropped_are_counted_hour_by_hour(
    client: FlaskClient, sql: Connection
) -> None:
    post(client, ac({START + minute * 20 * MINUTE: minute for minute in range(72)}))
    refresh(sql)
    before = ask(client, "fleet")

    dropped = "SELECT drop_chunks('meter_six_hourly', older_than => now() + INTERVAL '1 year')"
    assert rows(sql, dropped)

    assert ask(client, "fleet") == before
    assert before["kwhConsumedAc"] == 70


def test_what_was_never_materialized_is_exact_at_once(client: FlaskClient) -> None:
    post(client, ac({START + MINUTE: 10, END - MINUTE: 20}))
    post(client, ac({END - HOUR: 4}))

    fleet = ask(client, "fleet")
    assert fleet["exactUntil"] == at(END)
    assert fleet["kwhConsumedAc"] == 16


@pytest.mark.usefixtures("day")
def test_a_cursor_is_good_for_its_own_list_alone(client: FlaskClient) -> None:
    first: dict[str, Any] = {"sort": "efficiency", "hours": 23, "end": at(END)}
    after = ask(client, "performance", **first, limit=2)["next"]
    query = first | {"after": after}

    # It goes on where no list is given, so that no hour ends between two pages.
    bare = client.get("/v1/analytics/performance", query_string={"after": after}).json
    assert bare == ask(client, "performance", **query)
    says = refused(client, "after", after=after, sort="vehicleId")
    assert says == "Belongs to sort=efficiency."
    other = {"end": at(END + HOUR)}, {"hours": 24}
    for window in other:
        says = refused(client, "after", **query | window)
        assert says == f"Belongs to end={at(END)} and hours=23."
    for nonsense in ("", "nonsense", "bm8=", "W10=", "ü", after[:-4]):
        says = refused(client, "after", sort="efficiency", after=nonsense)
        assert says == "Not a `next` of an earlier page."
    for sort, end, hours in (
        ("efficiency", "0001-01-01T00:00:00Z", 24),
        ("efficiency", at(END + timedelta(minutes=30)), 24),
        ("efficiency", at(END), 745),
        ("pg_sleep", at(END), 24),
    ):
        made_up = f'["{sort}","{end}",{hours},1,"V-1"]'.encode()
        refused(client, "after", after=base64.urlsafe_b64encode(made_up).decode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("end", "yesterday"),
        ("end", "1969-12-31T23:00:00Z"),
        ("hours", 0),
        ("hours", 745),
        ("sort", "meterIds"),
        ("sort", "--efficiency"),
        ("limit", 0),
        ("limit", 1001),
        ("efficiencyBelow", "nan"),
        ("warning", "nothing"),
    ],
)
def test_a_wrong_argument_is_named(client: FlaskClient, field: str, value: object) -> None:
    assert refused(client, field, "performance", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("end", "now"), ("hours", "x"), ("staleAfter", -1), ("staleAfter", "inf")]
)
def test_a_wrong_argument_of_the_fleet_is_named(
    client: FlaskClient, field: str, value: object
) -> None:
    assert refused(client, field, "fleet", **{field: value})
