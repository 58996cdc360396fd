from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.conftest import refresh
from tests.examples import NOW, at, meter, vehicle

END = NOW.replace(minute=0, second=0) - timedelta(days=3)
START = END - timedelta(hours=24)
MINUTE = timedelta(minutes=1)


def post(client: FlaskClient, readings: list[dict[str, Any]]) -> None:
    for first in range(0, len(readings), 10_000):
        response = client.post("/v1/ingestion", json=readings[first : first + 10_000])
        assert response.status_code == 201, response.json


def ac(values: dict[datetime, float], meter_id: str = "M-1") -> list[dict[str, Any]]:
    return [
        meter(meterId=meter_id, kwhConsumedAc=kwh, timestamp=at(time))
        for time, kwh in values.items()
    ]


def dc(values: dict[datetime, float], vehicle_id: str = "V-1") -> list[dict[str, Any]]:
    return [
        vehicle(vehicleId=vehicle_id, kwhDeliveredDc=kwh, batteryTemp=20, timestamp=at(time))
        for time, kwh in values.items()
    ]


def plug(
    client: FlaskClient, meter_id: str, since: datetime | None = None, to: str = "V-1"
) -> None:
    body = {"vehicleId": to, "meterId": meter_id} | ({"validFrom": at(since)} if since else {})
    assert client.post("/v1/ingestion/mapping", json=body).status_code == 201


def summary(client: FlaskClient, vehicle_id: str = "V-1", **query: Any) -> dict[str, Any]:
    response = client.get(
        f"/v1/analytics/performance/{vehicle_id}", query_string={"end": at(END)} | query
    )
    assert response.status_code == 200, response.json
    assert response.json
    return dict(response.json)


def test_a_day_of_readings_a_minute(client: FlaskClient) -> None:
    times = [START + MINUTE * minute for minute in range(1, 1441)]
    post(client, ac({time: 100 + 0.01 * n for n, time in enumerate(times)}))
    post(client, dc({time: 500 + 0.009 * n for n, time in enumerate(times)}))
    plug(client, "M-1")

    assert summary(client) == {
        "vehicleId": "V-1",
        "windowStart": at(START),
        "windowEnd": at(END),
        "kwhConsumedAc": pytest.approx(14.39, abs=1e-9),
        "kwhDeliveredDc": pytest.approx(12.951, abs=1e-9),
        "kwhDeliveredDcMetered": pytest.approx(12.951, abs=1e-9),
        "efficiency": pytest.approx(0.9, abs=1e-9),
        "avgBatteryTemp": 20,
        "meterIds": ["M-1"],
        "vehicleReadings": 1440,
        "meterReadings": 1440,
        "vehicleCoverage": 1.0,
        "meterCoverage": 1.0,
        "counterResets": 0,
        "ignoredReadings": 0,
        "warnings": [],
    }


@pytest.mark.parametrize(("edges", "readings"), [("readings", 3), ("interpolated", 2)])
def test_the_window_has_its_start_and_between_readings_its_end_too(
    client: FlaskClient, edges: str, readings: int
) -> None:
    post(client, dc({START: 1, START + MINUTE: 2, END: 4, END + MINUTE: 8}))

    answer = summary(client, edges=edges)
    assert answer["kwhDeliveredDc"] == 3
    assert answer["vehicleReadings"] == readings


def test_energy_is_measured_between_readings_or_between_the_ends_of_the_window(
    client: FlaskClient,
) -> None:
    half = timedelta(minutes=30)
    post(client, dc({START + (n - 1) * half: 3 * n for n in range(51) if n != 1}))

    assert summary(client)["kwhDeliveredDc"] == 3 * 47
    assert summary(client, edges="readings") == summary(client)
    assert summary(client, edges="interpolated")["kwhDeliveredDc"] == 3 * 48


def test_a_window_may_be_a_start_and_an_end(client: FlaskClient) -> None:
    post(client, dc({START: 1, START + MINUTE: 2, END: 4}))

    answer = summary(client, start=at(START), end=at(START + timedelta(minutes=5)))
    assert (answer["windowStart"], answer["windowEnd"]) == (
        at(START),
        at(START + timedelta(minutes=5)),
    )
    assert answer["kwhDeliveredDc"] == 1


def test_a_lost_packet_costs_no_energy(client: FlaskClient) -> None:
    post(client, dc({START + MINUTE: 10, END - timedelta(hours=5, minutes=3): 17}))

    assert summary(client)["kwhDeliveredDc"] == 7


def test_a_single_reading_makes_no_energy_known(client: FlaskClient) -> None:
    post(client, dc({END: 10}))

    answer = summary(client)
    assert answer["kwhDeliveredDc"] is None
    assert answer["efficiency"] is None
    assert answer["avgBatteryTemp"] == 20
    assert answer["warnings"] == ["no_mapping", "low_coverage"]


@pytest.mark.parametrize("refreshed", [False, True])
def test_a_fall_counts_nothing_and_is_seen_even_if_it_recovers_within_the_hour(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    hour = START + timedelta(hours=5)
    post(client, dc({hour + MINUTE * n: kwh for n, kwh in enumerate([10, 11, 3, 4, 12, 13], 1)}))
    if refreshed:
        refresh(sql)

    answer = summary(client)
    assert answer["kwhDeliveredDc"] == 1 + 1 + 8 + 1
    assert answer["counterResets"] == 1
    assert "counter_reset" in answer["warnings"]


@pytest.mark.parametrize("refreshed", [False, True])
def test_the_step_between_two_hours_counts(
    client: FlaskClient, sql: Connection, refreshed: bool
) -> None:
    hours = [START + timedelta(hours=n, minutes=30) for n in range(24)]
    post(client, dc({time: 2.0 * n for n, time in enumerate(hours)}))
    if refreshed:
        refresh(sql)

    assert summary(client)["kwhDeliveredDc"] == 46


def test_a_mapping_bounds_what_its_meter_counts(client: FlaskClient) -> None:
    change = START + timedelta(hours=6, minutes=20)
    before, after = change - MINUTE, change + MINUTE
    post(client, ac({START + MINUTE: 0, before: 5, after: 7, END: 100}, "M-1"))
    post(client, ac({START + MINUTE: 0, before: 50, change: 60, END: 63}, "M-2"))
    post(client, dc({START + MINUTE: 0, before: 4, after: 6, END: 9}))
    plug(client, "M-1")
    plug(client, "M-2", change)

    answer = summary(client)
    # Of the step over the change, half is before it.
    assert answer["kwhConsumedAc"] == 5 + 1 + 3
    assert answer["kwhDeliveredDc"] == answer["kwhDeliveredDcMetered"] == 9
    assert answer["meterIds"] == ["M-1", "M-2"]
    assert answer["meterReadings"] == 4
    assert "unmetered_energy" not in answer["warnings"]


def test_charging_elsewhere_does_not_look_like_efficiency_above_one(client: FlaskClient) -> None:
    plug(client, "M-1", END - timedelta(hours=2))
    post(client, ac({END - timedelta(hours=1): 0, END: 10}))
    away = {START + MINUTE: 0, END - timedelta(hours=2): 40}
    post(client, dc({**away, END - timedelta(hours=1): 40, END: 49}))

    answer = summary(client)
    assert answer["kwhDeliveredDc"] == 49
    assert answer["efficiency"] == 0.9
    assert "unmetered_energy" in answer["warnings"]
    assert "efficiency_above_one" not in answer["warnings"]


def test_an_efficiency_above_one_is_shown_with_its_warning(client: FlaskClient) -> None:
    plug(client, "M-1")
    post(client, ac({START + MINUTE: 0, END: 10}))
    post(client, dc({START + MINUTE: 0, END: 13}))

    answer = summary(client)
    assert answer["efficiency"] == 1.3
    assert "efficiency_above_one" in answer["warnings"]


def test_no_ac_energy_makes_no_efficiency(client: FlaskClient) -> None:
    plug(client, "M-1")
    post(client, ac({START + MINUTE: 7, END: 7}))
    post(client, dc({START + MINUTE: 0, END: 1}))

    answer = summary(client)
    assert (answer["kwhConsumedAc"], answer["efficiency"]) == (0, None)


def test_shares_of_a_shared_meter_add_up_to_what_it_counted(client: FlaskClient) -> None:
    plug(client, "M-1", to="V-1")
    plug(client, "M-1", to="V-2")
    post(client, ac({START + MINUTE: 0, END: 10}))
    post(client, dc({START + MINUTE: 0, END: 6}, "V-1") + dc({START + MINUTE: 0, END: 2}, "V-2"))

    first, second = summary(client, "V-1"), summary(client, "V-2")
    assert (first["kwhConsumedAc"], second["kwhConsumedAc"]) == (7.5, 2.5)
    assert "shared_meter" in first["warnings"]


def test_the_window_may_end_at_any_time_and_last_up_to_31_days(client: FlaskClient) -> None:
    post(client, dc({START + MINUTE: 1, END: 2}))

    assert (
        summary(client, end=END.astimezone(timezone(timedelta(hours=9))).isoformat(), hours=744)[
            "kwhDeliveredDc"
        ]
        == 1
    )
    for query in (
        "hours=0",
        "hours=745",
        "end=yesterday",
        "end=0001-01-01T00:00:00Z",
        "start=2024-02-09T10:00:00Z&end=2024-03-11T10:00:01Z",
        "start=2024-02-09T10:00:00Z&end=2024-02-09T10:00:00Z",
        "start=2024-02-09T10:00:00Z&hours=24",
        "edges=exact",
        "tz=UTC",
    ):
        response = client.get(f"/v1/analytics/performance/V-1?{query}")
        assert response.status_code == 422


def test_a_vehicle_that_is_unknown_is_not_found(client: FlaskClient) -> None:
    response = client.get("/v1/analytics/performance/V-0")

    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"


def test_whole_kilowatt_hours_are_told_as_all_others_are(client: FlaskClient) -> None:
    times = (END - 2 * MINUTE, END - MINUTE)
    post(client, ac({time: n for n, time in enumerate(times)}))
    post(client, dc({time: n for n, time in enumerate(times)}))
    plug(client, "M-1")

    answer = summary(client)

    for figure in ("kwhConsumedAc", "kwhDeliveredDc", "kwhDeliveredDcMetered", "efficiency"):
        assert repr(answer[figure]) == "1.0", figure


def test_a_vehicle_that_was_silent_has_nulls(client: FlaskClient) -> None:
    post(client, dc({END - timedelta(days=9): 1}))
    plug(client, "M-1")

    answer = summary(client)
    assert answer["kwhConsumedAc"] is answer["kwhDeliveredDc"] is answer["avgBatteryTemp"] is None
    assert answer["vehicleCoverage"] == 0
    assert answer["warnings"] == ["no_readings", "low_coverage"]


def test_a_vehicle_that_came_back_to_a_meter_it_once_shared_has_each_hour_once(
    client: FlaskClient,
) -> None:
    plug(client, "M-1", START, to="V-2")
    plug(client, "M-2", START + timedelta(hours=8), to="V-2")
    plug(client, "M-1", START)
    plug(client, "M-2", START + timedelta(hours=10))
    plug(client, "M-1", START + timedelta(hours=12))
    hours = [START + timedelta(hours=n, minutes=30) for n in range(24)]
    post(client, ac({time: 2.0 * n for n, time in enumerate(hours)}))

    # Half of the 7.5 hours with V-2, the 2 without it, and the 11.5 after coming back.
    assert summary(client)["kwhConsumedAc"] == 7.5 + 4 + 23
