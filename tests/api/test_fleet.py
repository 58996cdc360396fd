from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.api.test_summary import END, MINUTE, START, ac, dc, plug, post, summary
from tests.conftest import refresh
from tests.examples import NOW, at, meter, vehicle

HOUR = timedelta(hours=1)
BETWEEN = {"edges": "interpolated"}


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
        post(client, ac({START: 100, END - MINUTE: 100 + ac_kwh}, f"M-{name}"))
        post(client, dc({START: 50, END - MINUTE: 50 + dc_kwh}, name))
        plug(client, f"M-{name}", to=name)
    post(client, dc({START: 50, END - MINUTE: 57}, "D"))
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
    assert page["items"] == [summary(client, name, **BETWEEN) for name in "ABCDE"]
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
    assert fleet["items"] == fleet["hours"]


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
def test_a_window_has_a_reading_on_its_start_and_none_on_its_end(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    post(client, dc({START: 1, START + MINUTE: 2, END: 4, END + MINUTE: 8}))
    if refreshed:
        refresh(sql)

    (item,) = ask(client, "performance")["items"]
    assert (item["kwhDeliveredDc"], item["vehicleReadings"]) == (3, 2)
    fleet = ask(client, "fleet")
    assert (fleet["kwhDeliveredDc"], fleet["vehicleReadings"]) == (3, 2)
    assert [hour["vehicleReadings"] for hour in fleet["items"]] == [2, *[0] * 23]


@pytest.mark.parametrize("refreshed", [False, True])
def test_a_device_whose_newest_reading_is_the_window_s_start_counts(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    post(client, dc({START - MINUTE: 1, START: 2}))
    post(client, ac({START: 2}))
    plug(client, "M-1")
    if refreshed:
        refresh(sql)

    (item,) = ask(client, "performance")["items"]
    assert (item["vehicleReadings"], item["meterReadings"]) == (1, 1)
    assert item["avgBatteryTemp"] == 20
    fleet = ask(client, "fleet")
    assert (fleet["vehicleReadings"], fleet["meterReadings"]) == (1, 1)


def test_a_window_of_a_whole_chunk_has_a_reading_on_its_start_and_none_on_its_end(
    client: FlaskClient,
) -> None:
    midnight = START.replace(hour=0)
    end = midnight + 24 * HOUR
    post(client, dc({midnight: 1, midnight + MINUTE: 2, midnight + HOUR: 4, end: 4}))

    fleet = ask(client, "fleet", end=at(end))
    assert (fleet["kwhDeliveredDc"], fleet["vehicleReadings"]) == (3, 3)


@pytest.mark.parametrize("refreshed", [False, True])
def test_energy_of_a_step_is_spread_over_its_hours_and_a_reset_counts_in_its_own(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    half = START + 30 * MINUTE
    registers: dict[datetime, float] = {
        half: 10,
        half + HOUR: 11,
        half + 4 * HOUR: 14,
        half + 5 * HOUR: 2,
    }
    post(client, ac(registers))
    if refreshed:
        refresh(sql)

    fleet = ask(client, "fleet", end=at(START + 6 * HOUR), hours=6)
    assert [hour["kwhConsumedAc"] for hour in fleet["items"]] == [0.5, 1, 1, 1, 0.5, 0]
    assert [hour["counterResets"] for hour in fleet["items"]] == [0, 0, 0, 0, 0, 1]
    assert [(hour["start"], hour["end"]) for hour in fleet["items"]] == [
        (at(START + n * HOUR), at(START + (n + 1) * HOUR)) for n in range(6)
    ]
    assert fleet["kwhConsumedAc"] == 4
    assert "counter_reset" in fleet["warnings"]


def test_days_are_those_of_the_zone_and_have_no_older_name(client: FlaskClient) -> None:
    post(client, ac({START - 72 * HOUR + n * HOUR: n for n in range(97)}))

    fleet = ask(client, "fleet", hours=48, bucket="1d", tz="Asia/Kathmandu")

    assert "hours" not in fleet
    assert [day["kwhConsumedAc"] for day in fleet["items"]] == [24, 24]
    assert fleet["windowStart"] == fleet["items"][0]["start"]
    assert fleet["windowEnd"] == fleet["items"][1]["end"]
    assert fleet["windowEnd"].endswith("T18:15:00Z")


def test_up_to_400_days_are_answered_by_the_day(client: FlaskClient) -> None:
    fleet = ask(client, "fleet", hours=400 * 24, bucket="1d", tz="Europe/Berlin")

    assert len(fleet["items"]) == 400
    refused(client, "hours", "fleet", hours=400 * 24 + 24, bucket="1d")
    refused(client, "hours", "fleet", hours=745, bucket="1h")


def test_energy_of_the_fleet_tells_all_of_it_from_what_belongs_to_vehicles(
    client: FlaskClient,
) -> None:
    for name, kwh in (("M-1", 10), ("M-2", 5)):
        post(client, ac({START: 100, END: 100 + kwh}, name))
    for name, kwh in (("V-1", 8), ("V-2", 3)):
        post(client, dc({START: 100, END: 100 + kwh}, name))
    plug(client, "M-1")

    fleet = ask(client, "fleet")
    assert (fleet["kwhConsumedAc"], fleet["kwhConsumedAcMapped"]) == (15, 10)
    assert (fleet["kwhDeliveredDc"], fleet["kwhDeliveredDcMetered"]) == (11, 8)
    assert fleet["efficiency"] == 0.8
    assert fleet["avgBatteryTemp"] == 20
    assert fleet["vehicleCoverage"] == fleet["meterCoverage"] == pytest.approx(2 / 2880)


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
    assert items == [summary(client, name, **BETWEEN) for name in ("V-1", "V-2")]
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
def test_a_late_reading_counts_from_the_next_refresh_on_and_until_then_the_answer_says_so(
    client: FlaskClient, sql: Connection
) -> None:
    late = START + 9 * HOUR + 30 * MINUTE
    post(client, ac({START: 10, END: 20}))
    post(client, dc({START: 10, END: 20}))
    refresh(sql)
    before = ask(client, "fleet")
    assert before["exactUntil"] == at(END)

    post(client, ac({late: 4}))

    assert ask(client, "fleet")["exactUntil"] == at(START + 9 * HOUR)
    assert ask(client, "performance")["exactUntil"] == at(START + 9 * HOUR)
    # Windows that don't have the hour are as exact as they were.
    assert ask(client, "fleet", hours=12)["exactUntil"] == at(END)
    refresh(sql)
    after = ask(client, "fleet")
    assert after["exactUntil"] == at(END)
    assert after["meterReadings"] == before["meterReadings"] + 1
    assert (before["kwhConsumedAc"], after["kwhConsumedAc"]) == (10, 10)
    assert (before["ignoredReadings"], after["ignoredReadings"]) == (0, 1)


def test_what_was_never_materialized_is_exact_at_once(client: FlaskClient) -> None:
    post(client, ac({START + MINUTE: 10, END - MINUTE: 20}))
    post(client, ac({END - HOUR: 4}))

    fleet = ask(client, "fleet")
    assert fleet["exactUntil"] == at(END)
    assert fleet["meterReadings"] == 3


@pytest.mark.usefixtures("day")
def test_a_cursor_is_good_for_its_own_list_alone(client: FlaskClient) -> None:
    first: dict[str, Any] = {"sort": "efficiency", "hours": 23, "end": at(END)}
    after = ask(client, "performance", **first, limit=2)["next"]
    query = first | {"after": after}
    spelt = {"sort": "efficiency", "start": at(END - 23 * HOUR), "end": at(END), "tz": "UTC"}

    # It goes on where no list is given, so that no hour ends between two pages.
    bare = client.get("/v1/analytics/performance", query_string={"after": after}).json
    assert bare == ask(client, "performance", **query)
    assert bare == ask(client, "performance", **spelt, after=after)
    says = refused(client, "after", after=after, sort="vehicleId")
    assert says == "Belongs to sort=efficiency."
    says = refused(client, "after", after=after, tz="Asia/Kathmandu")
    assert says == "Belongs to tz=UTC."
    for window in ({"end": at(END + HOUR)}, {"hours": 24}):
        says = refused(client, "after", **query | window)
        assert says == f"Belongs to start={at(END - 23 * HOUR)} and end={at(END)}."
    assert refused(client, "after", after=after, start=at(START))
    for nonsense in ("", "nonsense", "bm8=", "W10=", "ü", after[:-4]):
        says = refused(client, "after", sort="efficiency", after=nonsense)
        assert says == "Not a `next` of an earlier page."


LIST = {"sort": "efficiency", "start": at(START), "end": at(END), "tz": "UTC", "site": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"start": "0001-01-01T00:00:00Z"},
        {"end": "9999-12-31T23:00:00Z"},
        {"start": at(END)},
        {"start": at(START + timedelta(minutes=30))},
        {"end": at(END + timedelta(minutes=30))},
        {"start": at(END - 745 * HOUR)},
        {"start": at(START).replace("Z", "+00:00").replace("+00:00", "+01:00")},
        {"sort": "pg_sleep"},
        {"tz": "../../etc/passwd"},
        {"tz": "Asia/Kathmandu"},
        {"site": "no id"},
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(
    client: FlaskClient, changes: dict[str, str]
) -> None:
    made_up = [*(LIST | changes).values(), 1, "V-1"]

    assert refused(client, "after", after=encoded(made_up))


def test_a_cursor_from_before_windows_had_a_start_is_refused(client: FlaskClient) -> None:
    old = ["efficiency", at(END), 24, 0.9, "V-1"]

    says = refused(client, "after", after=encoded(old))
    assert says == "Not a `next` of an earlier page."


def encoded(cursor: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def test_a_site_s_vehicles_are_listed_and_its_devices_summed_up_alone(client: FlaskClient) -> None:
    assert client.put("/v1/sites/depot", json={}).status_code == 201
    for device in ("vehicles/A", "vehicles/C", "vehicles/D", "meters/M-A"):
        assert client.put(f"/v1/devices/{device}", json={"site": "depot"}).status_code == 201
    for name in "ABC":
        post(client, dc({START: 1, END: 3}, name))
        post(client, ac({START: 1, END: 4}, f"M-{name}"))

    first = ask(client, "performance", site="depot", limit=1)
    rest = client.get("/v1/analytics/performance", query_string={"after": first["next"]}).json
    fleet = ask(client, "fleet", site="depot")

    assert rest
    assert [*ids(first), *ids(rest)][:2] == ["A", "C"]
    says = refused(client, "after", after=first["next"], site="elsewhere")
    assert says == "Belongs to site=depot."
    assert (fleet["kwhDeliveredDc"], fleet["kwhConsumedAc"]) == (4, 3)
    assert sum(fleet["vehicles"].values()) == 3
    assert sum(fleet["meters"].values()) == 1
    assert ids(ask(client, "performance", site="elsewhere")) == []
    assert ask(client, "fleet", site="elsewhere")["kwhDeliveredDc"] is None


def test_pages_go_on_with_the_hours_of_their_zone(client: FlaskClient) -> None:
    for name in "AB":
        post(client, dc({START: 1, END: 2}, name))
    asked = {"tz": "Asia/Kathmandu", "hours": 2}

    first = ask(client, "performance", **asked, limit=1)
    second = client.get("/v1/analytics/performance", query_string={"after": first["next"]}).json

    assert second
    assert first["windowEnd"] == second["windowEnd"] == at(END - 45 * MINUTE)
    assert first["windowStart"] == second["windowStart"]
    assert ids(first) + ids(second) == ["A", "B"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("end", "yesterday"),
        ("end", "1969-12-31T23:00:00Z"),
        ("hours", 0),
        ("hours", 745),
        ("start", "yesterday"),
        ("tz", "Mars/Olympus"),
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
    ("field", "value"),
    [
        ("end", "now"),
        ("hours", "x"),
        ("hours", 745),
        ("bucket", "15m"),
        ("tz", "cet"),
        ("staleAfter", -1),
        ("staleAfter", "inf"),
    ],
)
def test_a_wrong_argument_of_the_fleet_is_named(
    client: FlaskClient, field: str, value: object
) -> None:
    assert refused(client, field, "fleet", **{field: value})
