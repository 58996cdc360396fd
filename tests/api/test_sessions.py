"""Charging sessions, from the curve: cases that other systems get wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.examples import NOW, at, meter, vehicle

MINUTE = timedelta(minutes=1)
DAY = datetime(2026, 11, 10, tzinfo=UTC)
KW = 6.0  # 0.1 kWh a minute
LOSS = 0.9  # of AC that comes out as DC


def clock(hours: float, day: datetime = DAY) -> datetime:
    return day + timedelta(hours=hours)


def post(client: FlaskClient, readings: list[dict[str, Any]]) -> None:
    response = client.post("/v1/ingestion", json=readings)
    assert response.status_code == 201, response.text


def day_of(
    *charges: tuple[datetime, datetime],
    start: datetime = DAY,
    hours: float = 24,
    vehicle_id: str = "V-999",
    meter_id: str = "M-123",
    kw: float = KW,
    silent: tuple[datetime, datetime] | None = None,
) -> list[dict[str, Any]]:
    """Return the readings of a vehicle and its meter, a minute apart, that charges in spans."""
    readings = []
    dc = 100.0
    for number in range(round(hours * 60) + 1):
        time = start + number * MINUTE
        if number and any(first < time <= last for first, last in charges):
            dc += kw / 60
        if silent and silent[0] < time < silent[1]:
            continue
        readings += [
            vehicle(
                vehicleId=vehicle_id,
                kwhDeliveredDc=round(dc, 9),
                soc=min(100, round(20 + (dc - 100), 3)),
                timestamp=at(time),
            ),
            meter(
                meterId=meter_id,
                kwhConsumedAc=round(500 + (dc - 100) / LOSS, 9),
                timestamp=at(time),
            ),
        ]
    return readings


def plug(client: FlaskClient, meter_id: str = "M-123", **fields: Any) -> None:
    body = {"vehicleId": "V-999", "meterId": meter_id} | fields
    assert client.post("/v1/ingestion/mapping", json=body).status_code == 201


def ask(client: FlaskClient, route: str = "vehicles/V-999/sessions", **query: Any) -> Any:
    window = {"start": at(DAY), "end": at(clock(24))}
    response = client.get(f"/v1/analytics/{route}", query_string=window | query)
    assert response.status_code == 200, response.text
    return response.get_json()


def spans(answer: Any) -> list[tuple[str, str]]:
    return [(item["start"], item["end"]) for item in answer["items"]]


def test_a_charge_is_a_session_with_its_energies(client: FlaskClient) -> None:
    plug(client)
    post(client, day_of((clock(18), clock(20))))

    (session,) = ask(client)["items"]

    assert session == {
        "vehicleId": "V-999",
        "start": at(clock(18)),
        "end": at(clock(20)),
        "open": False,
        "meterId": "M-123",
        "kwhConsumedAc": pytest.approx(12 / LOSS),
        "kwhDeliveredDc": pytest.approx(12),
        "efficiency": pytest.approx(LOSS),
        "firstSoc": 20,
        "lastSoc": 32,
        "peakKw": pytest.approx(KW),
        "warnings": [],
    }


def test_a_short_pause_is_inside_of_a_session_and_a_long_one_ends_it(client: FlaskClient) -> None:
    plug(client)
    first, second = (clock(2), clock(3)), (clock(3.4), clock(4))
    post(client, day_of(first, second, (clock(5), clock(6))))

    assert spans(ask(client)) == [
        (at(clock(2)), at(clock(4))),
        (at(clock(5)), at(clock(6))),
    ]
    assert len(ask(client, pause=600)["items"]) == 3
    assert len(ask(client, pause=3600)["items"]) == 1


def test_sessions_and_idle_add_up_to_the_window(client: FlaskClient) -> None:
    plug(client)
    post(client, day_of((clock(-2), clock(1)), (clock(20), clock(26)), start=clock(-4), hours=32))

    answer = ask(client)

    whole = client.get(
        "/v1/analytics/performance/V-999",
        query_string={"start": at(DAY), "end": at(clock(24)), "edges": "interpolated"},
    ).get_json()
    for name in ("kwhConsumedAc", "kwhDeliveredDc"):
        charged = sum(item[name] for item in answer["items"])
        assert charged + answer["idle"][name] == pytest.approx(whole[name], abs=1e-9)
    # Those that cross the window keep their times.
    assert spans(answer) == [(at(clock(-2)), at(clock(1))), (at(clock(20)), at(clock(26)))]
    assert [item["kwhDeliveredDc"] for item in answer["items"]] == pytest.approx([6, 24])


def test_a_session_that_began_days_before_keeps_its_start(client: FlaskClient) -> None:
    plug(client)
    start = clock(-100)
    readings = day_of((start, clock(2)), start=clock(-101), hours=110, kw=0.5)
    for first in range(0, len(readings), 10_000):
        post(client, readings[first : first + 10_000])

    assert spans(ask(client)) == [(at(start), at(clock(2)))]


def test_a_car_that_sleeps_across_its_charge_has_one_long_session(client: FlaskClient) -> None:
    plug(client)
    silent = (clock(17), clock(21))
    post(client, day_of((clock(18), clock(20)), silent=silent))

    (session,) = ask(client)["items"]

    assert (session["start"], session["end"]) == (at(silent[0]), at(silent[1]))
    assert session["kwhDeliveredDc"] == pytest.approx(12)
    assert session["peakKw"] == pytest.approx(3)


def test_a_lost_hour_splits_no_session(client: FlaskClient) -> None:
    plug(client)
    post(client, day_of((clock(18), clock(22)), silent=(clock(19), clock(20))))

    assert spans(ask(client)) == [(at(clock(18)), at(clock(22)))]


def test_a_trickle_is_no_session(client: FlaskClient) -> None:
    plug(client)
    post(client, day_of((clock(1), clock(23)), kw=0.09))

    answer = ask(client)

    assert answer["items"] == []
    assert answer["idle"]["kwhDeliveredDc"] == pytest.approx(22 * 0.09)


def test_a_move_to_another_meter_splits_a_session_at_its_time(client: FlaskClient) -> None:
    plug(client)
    moved = clock(19) + timedelta(seconds=30)
    plug(client, "M-2", validFrom=at(moved))
    post(client, day_of((clock(18), clock(20))))

    first, second = ask(client)["items"]

    assert (first["end"], second["start"]) == (at(moved), at(moved))
    assert (first["meterId"], second["meterId"]) == ("M-123", "M-2")
    assert first["kwhDeliveredDc"] + second["kwhDeliveredDc"] == pytest.approx(12)
    assert second["kwhConsumedAc"] is None


def test_a_vehicle_on_no_meter_has_sessions_without_ac(client: FlaskClient) -> None:
    post(client, day_of((clock(18), clock(20))))

    (session,) = ask(client)["items"]

    assert (session["meterId"], session["kwhConsumedAc"], session["efficiency"]) == (None,) * 3
    assert session["kwhDeliveredDc"] == pytest.approx(12)


def test_a_register_that_resets_at_plug_in_costs_a_step_and_no_session(client: FlaskClient) -> None:
    plug(client)
    readings = day_of((clock(18), clock(20)))
    for reading in readings:
        if "vehicleId" in reading and reading["timestamp"] > at(clock(18)):
            reading["kwhDeliveredDc"] = round(reading["kwhDeliveredDc"] - 100, 9)
    post(client, readings)

    (session,) = ask(client)["items"]

    assert session["start"] == at(clock(18) + MINUTE)
    assert session["kwhDeliveredDc"] == pytest.approx(12 - KW / 60)


def test_a_session_is_open_until_its_pause_has_passed(client: FlaskClient) -> None:
    plug(client)
    end = NOW.replace(second=0) - MINUTE
    start = end - timedelta(hours=2)
    post(client, day_of((start + MINUTE, end), start=start, hours=2))
    window = {"start": at(start), "end": at(NOW)}

    (session,) = ask(client, **window)["items"]
    assert (session["open"], session["end"]) == (True, at(end))
    assert ask(client, **window, pause=1)["items"][-1]["open"] is False


def test_late_readings_heal_a_session(client: FlaskClient) -> None:
    plug(client)
    readings = day_of((clock(18), clock(22)))
    late = [
        reading for reading in readings if at(clock(18.5)) < reading["timestamp"] < at(clock(21))
    ]
    post(client, [reading for reading in readings if reading not in late])
    assert ask(client)["items"][0]["peakKw"] == pytest.approx(KW)

    post(client, late)

    (session,) = ask(client)["items"]
    assert (session["start"], session["end"]) == (at(clock(18)), at(clock(22)))


def test_vehicles_on_one_meter_share_its_energy(client: FlaskClient) -> None:
    for vehicle_id in ("V-1", "V-2"):
        plug(client, vehicleId=vehicle_id)
    one = day_of((clock(18), clock(20)), vehicle_id="V-1")
    two = day_of((clock(18), clock(20)), vehicle_id="V-2")
    post(client, one + [reading for reading in two if "vehicleId" in reading])

    items = ask(client, "sessions")["items"]

    assert [item["vehicleId"] for item in items] == ["V-1", "V-2"]
    assert sum(item["kwhConsumedAc"] for item in items) == pytest.approx(12 / LOSS)
    assert all("shared_meter" in item["warnings"] for item in items)


def test_the_fleet_s_sessions_come_in_pages_the_oldest_first(client: FlaskClient) -> None:
    for number, hour in enumerate((9, 3, 6)):
        post(
            client,
            day_of(
                (clock(hour), clock(hour + 1)),
                vehicle_id=f"V-{number}",
                meter_id=f"M-{number}",
                hours=12,
            ),
        )

    first = ask(client, "sessions", limit=2)
    rest = ask(client, "sessions", limit=2, after=first["next"])

    assert [item["vehicleId"] for item in first["items"] + rest["items"]] == ["V-1", "V-2", "V-0"]
    assert rest["next"] is None
    foreign = client.get(
        "/v1/analytics/sessions", query_string={"after": first["next"], "pause": 60}
    )
    assert foreign.status_code == 422


def test_a_site_s_sessions_are_listed_alone(client: FlaskClient) -> None:
    client.put("/v1/sites/north", json={"name": "North"})
    client.put("/v1/devices/vehicles/V-1", json={"site": "north"})
    for number in (1, 2):
        post(
            client,
            day_of((clock(3), clock(4)), vehicle_id=f"V-{number}", meter_id=f"M-{number}", hours=6),
        )

    items = ask(client, "sessions", site="north")["items"]
    assert [item["vehicleId"] for item in items] == ["V-1"]


def test_a_vehicle_that_nobody_knows_has_no_sessions(client: FlaskClient) -> None:
    assert client.get("/v1/analytics/vehicles/V-0/sessions").status_code == 404


def test_a_peak_is_a_mean_over_five_minutes_at_least(client: FlaskClient) -> None:
    plug(client)
    # 12 kW for two minutes in an hour of 6 kW: (2 * 12 + 3 * 6) / 5.
    readings = day_of((clock(1), clock(2)), hours=3)
    extra = 0.0
    for reading in readings:
        if "vehicleId" in reading:
            if at(clock(1.5)) < reading["timestamp"] <= at(clock(1.5) + 2 * MINUTE):
                extra += 0.1
            reading["kwhDeliveredDc"] = round(reading["kwhDeliveredDc"] + extra, 9)
    post(client, readings)

    (session,) = ask(client)["items"]

    assert session["peakKw"] == pytest.approx((2 * 12 + 3 * 6) / 5)


def status(client: FlaskClient, route: str = "vehicles/V-999") -> Any:
    return client.get(f"/v1/status/{route}").get_json()


def test_the_status_has_the_power_of_the_last_five_minutes(client: FlaskClient) -> None:
    end = NOW.replace(second=0)
    start = end - timedelta(hours=1)
    post(client, day_of((end - 30 * MINUTE, end), start=start, hours=1))

    assert (status(client)["powerKw"], status(client)["charging"]) == (pytest.approx(KW), True)
    of_meter = status(client, "meters/M-123")
    assert (of_meter["powerKw"], of_meter["charging"]) == (pytest.approx(KW / LOSS), True)
    (item,) = status(client, "vehicles")["items"]
    assert (item["powerKw"], item["charging"]) == (pytest.approx(KW), True)


def test_power_is_zero_once_the_charge_is_five_minutes_over(client: FlaskClient) -> None:
    end = NOW.replace(second=0)
    start = end - timedelta(hours=1)
    post(client, day_of((start, end - 5 * MINUTE), start=start, hours=1))

    assert (status(client)["powerKw"], status(client)["charging"]) == (0, False)


def test_a_stale_device_has_no_power(client: FlaskClient) -> None:
    end = NOW.replace(second=0) - 10 * MINUTE
    start = end - timedelta(hours=1)
    post(client, day_of((start, end), start=start, hours=1))

    assert (status(client)["powerKw"], status(client)["charging"]) == (None, None)
    client.put("/v1/devices/vehicles/V-999", json={"intervalSeconds": 900})
    assert status(client)["charging"] is True


def test_a_device_of_few_minutes_has_no_power_yet(client: FlaskClient) -> None:
    post(client, [vehicle(timestamp=at(NOW - MINUTE)), vehicle(timestamp=at(NOW))])

    assert (status(client)["powerKw"], status(client)["charging"]) == (None, None)


def test_a_glitch_shows_as_no_power(client: FlaskClient) -> None:
    end = NOW.replace(second=0)
    start = end - timedelta(hours=1)
    readings = day_of(start=start, hours=1)
    for reading in readings:
        if reading["timestamp"] == at(end - 2 * MINUTE) and "vehicleId" in reading:
            reading["kwhDeliveredDc"] = 9917.125
    post(client, readings)

    assert status(client)["powerKw"] == 0
