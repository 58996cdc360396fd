"""What real devices send, and what is right about it: the register curve in every route."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.calendar import zone
from tests.api.test_late_data import leave
from tests.conftest import refresh, rows
from tests.examples import NOW, Reading, at, meter, vehicle

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Enough whole days ago for all that a test needs.
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 5 * DAY
Prepare = Callable[[Connection], None]

refreshed_or_not = pytest.mark.parametrize("prepare", [leave, refresh])


def ac(values: Sequence[tuple[datetime, float]], meter_id: str = "M-1") -> list[Reading]:
    return [meter(meterId=meter_id, kwhConsumedAc=kwh, timestamp=at(time)) for time, kwh in values]


def dc(values: Sequence[tuple[datetime, float]], vehicle_id: str = "V-1") -> list[Reading]:
    return [
        vehicle(vehicleId=vehicle_id, kwhDeliveredDc=kwh, timestamp=at(time))
        for time, kwh in values
    ]


def every(step: timedelta, *registers: float, start: datetime) -> list[tuple[datetime, float]]:
    """Return a register's values at times that are a step apart."""
    return [(start + number * step, kwh) for number, kwh in enumerate(registers)]


def post(client: FlaskClient, readings: Sequence[Reading]) -> None:
    for first in range(0, len(readings), 10_000):
        response = client.post("/v1/ingestion", json=readings[first : first + 10_000])
        assert response.status_code == 201, response.json


def plug(client: FlaskClient, meter_id: str, since: datetime, to: str = "V-1") -> None:
    body = {"vehicleId": to, "meterId": meter_id, "validFrom": at(since)}
    assert client.post("/v1/ingestion/mapping", json=body).status_code == 201


def register(sql: Connection, stream: str, device: str, interval: timedelta) -> None:
    statement = """
        INSERT INTO devices (stream, id, interval_seconds)
        VALUES (%(stream)s, %(id)s, %(seconds)s) RETURNING id
    """
    assert rows(sql, statement, stream=stream, id=device, seconds=interval.total_seconds())


def ask(client: FlaskClient, route: str, **query: Any) -> dict[str, Any]:
    response = client.get(
        f"/v1/analytics/{route}",
        query_string={
            name: at(value) if isinstance(value, datetime) else value
            for name, value in query.items()
        },
    )
    assert response.status_code == 200, response.json
    assert response.json
    return dict(response.json)


def summary(client: FlaskClient, vehicle_id: str = "V-1", /, **query: Any) -> dict[str, Any]:
    return ask(client, f"performance/{vehicle_id}", **({"edges": "interpolated"} | query))


def drawn(items: Sequence[dict[str, Any]]) -> list[float]:
    return [item["kwhConsumedAc"] for item in items]


FALSE_ZEROS = (4076.10, 4076.22, 0, 0, 4076.55, 4076.67)
SPIKE = (500, 500.1, 9917.125, 500.3, 500.4)
PLACEHOLDER = (0, 909.948, 910.031)
SMALL_SPIKE = (100, 103, 100.1, 100.2)
JITTER = (10.0, 10.1, 10.0, 10.1)
REPLACED = (5000, 5000.1, 12, 12.1, 12.2)


@dataclass(frozen=True)
class Right:
    """What is right about a device's readings."""

    kwh: float
    resets: int = 0
    ignored: int = 0
    warnings: tuple[str, ...] = ()


ODD = {
    "zeros after a boot": (FALSE_ZEROS, Right(0.57, ignored=2, warnings=("readings_ignored",))),
    "a spike": (SPIKE, Right(0.4, ignored=1, warnings=("readings_ignored",))),
    "a small spike": (SMALL_SPIKE, Right(0.2, ignored=1, warnings=("readings_ignored",))),
    "a placeholder": (PLACEHOLDER, Right(0.083, resets=1, warnings=("implausible_step",))),
    "a new meter": (REPLACED, Right(0.3, resets=1, warnings=("counter_reset",))),
    "a jitter": (JITTER, Right(0.1)),
}


@refreshed_or_not
@pytest.mark.parametrize("case", ODD)
def test_odd_registers_make_no_energy_in_any_route(
    client: FlaskClient, sql: Connection, prepare: Prepare, case: str
) -> None:
    registers, right = ODD[case]
    values = every(MINUTE, *registers, start=MIDNIGHT + 10 * HOUR)
    post(client, ac(values) + dc(values))
    plug(client, "M-1", MIDNIGHT)
    prepare(sql)
    window = {"start": MIDNIGHT + 10 * HOUR, "end": MIDNIGHT + 11 * HOUR}

    for device, figure in (("meters/M-1", "kwhConsumedAc"), ("vehicles/V-1", "kwhDeliveredDc")):
        for bucket in ("raw", "5m", "1h", "1d", "1mo"):
            series = ask(client, f"{device}/series", **window, bucket=bucket)
            items = series["items"]
            assert sum(item[figure] or 0 for item in items) == pytest.approx(right.kwh, abs=1e-9)
            assert sum(item["counterResets"] for item in items) == right.resets
            assert sum(item["ignoredReadings"] for item in items) == right.ignored
            assert series["warnings"] == list(right.warnings)

    fleet = ask(client, "fleet", **window)
    for totals in (fleet, fleet["items"][0]):
        for figure in ("kwhConsumedAc", "kwhConsumedAcMapped", "kwhDeliveredDc"):
            assert totals[figure] == pytest.approx(right.kwh, abs=1e-9)
        assert totals["counterResets"] == 2 * right.resets
        assert totals["ignoredReadings"] == 2 * right.ignored
    assert set(right.warnings) <= set(fleet["warnings"])

    (item,) = ask(client, "performance", **window)["items"]
    summaries = [summary(client, **window, edges=name) for name in ("readings", "interpolated")]
    for answer in (item, *summaries):
        for figure in ("kwhConsumedAc", "kwhDeliveredDc", "kwhDeliveredDcMetered"):
            assert answer[figure] == pytest.approx(right.kwh, abs=1e-9)
        assert answer["counterResets"] == 2 * right.resets
        assert answer["ignoredReadings"] == 2 * right.ignored
        assert set(answer["warnings"]) == {*right.warnings, "low_coverage"}


def test_a_spike_after_ten_silent_hours_is_ignored(client: FlaskClient) -> None:
    after = MIDNIGHT + 10 * HOUR
    post(client, dc([(MIDNIGHT, 500), *every(MINUTE, 9917, 500.2, 500.3, start=after)]))

    answer = summary(client, start=MIDNIGHT, end=MIDNIGHT + 11 * HOUR)

    assert answer["kwhDeliveredDc"] == pytest.approx(0.3, abs=1e-9)
    assert (answer["counterResets"], answer["ignoredReadings"]) == (0, 1)


def test_the_newest_spike_is_a_reset_until_what_follows_shows_that_it_is_a_glitch(
    client: FlaskClient,
) -> None:
    values = every(MINUTE, *SPIKE, start=MIDNIGHT + 10 * HOUR)
    window = {"start": MIDNIGHT + 10 * HOUR, "end": MIDNIGHT + 11 * HOUR}

    post(client, dc(values[:3]))
    before = summary(client, **window)
    post(client, dc(values[3:]))
    after = summary(client, **window)

    assert before["kwhDeliveredDc"] == pytest.approx(0.1, abs=1e-9)
    assert (before["counterResets"], before["ignoredReadings"]) == (1, 0)
    assert after["kwhDeliveredDc"] == pytest.approx(0.4, abs=1e-9)
    assert (after["counterResets"], after["ignoredReadings"]) == (0, 1)


@refreshed_or_not
def test_a_register_that_jitters_all_day_rises_by_what_it_rose(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    noise = random.Random(25)
    registers = [
        round(1000 + 0.29 * minute / 1440 + noise.choice([-0.1, 0, 0.1]), 3)
        for minute in range(1440)
    ]
    post(client, ac(every(MINUTE, *registers, start=MIDNIGHT)))
    prepare(sql)

    (item,) = ask(client, "meters/M-1/series", start=MIDNIGHT, end=MIDNIGHT + DAY, bucket="1d")[
        "items"
    ]

    assert item["kwhConsumedAc"] == pytest.approx(0.29, abs=0.3)
    assert (item["counterResets"], item["ignoredReadings"]) == (0, 0)


@refreshed_or_not
def test_energy_of_a_step_over_midnight_is_of_both_days(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    values = list(
        zip(
            [MIDNIGHT + n * HOUR for n in (12, 18, 30, 36)],
            [100.0, 100.0, 140.0, 140.0],
            strict=True,
        )
    )
    post(client, ac(values) + dc(values))
    plug(client, "M-1", MIDNIGHT)
    prepare(sql)
    window = {"start": MIDNIGHT, "end": MIDNIGHT + 2 * DAY}

    series = ask(client, "meters/M-1/series", **window, bucket="1d")
    fleet = ask(client, "fleet", **window, bucket="1d")
    days = [
        summary(client, start=MIDNIGHT + n * DAY, end=MIDNIGHT + (n + 1) * DAY) for n in range(2)
    ]

    for items in (series["items"], fleet["items"], days):
        assert drawn(items) == pytest.approx([20, 20], abs=1e-9)
    assert fleet["kwhConsumedAc"] == pytest.approx(40)
    assert summary(client, **window)["kwhConsumedAc"] == pytest.approx(40)
    # A step that a bucket's end cuts makes no figure of the window an estimate.
    assert series["warnings"] == []
    assert "estimated_edge" not in fleet["warnings"]
    half = ask(client, "meters/M-1/series", start=MIDNIGHT, end=MIDNIGHT + DAY, bucket="1d")
    assert half["warnings"] == ["estimated_edge"]


@refreshed_or_not
def test_a_register_that_is_read_every_hour_has_each_hours_energy_in_its_own_bucket(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    values = every(HOUR, *range(100, 174), start=MIDNIGHT)
    post(client, ac(values) + dc(values))
    prepare(sql)
    window = {"start": MIDNIGHT, "end": MIDNIGHT + 3 * DAY}

    hours = ask(client, "meters/M-1/series", **window)["items"]
    days = ask(client, "fleet", **window, bucket="1d")
    summaries = [
        summary(client, start=MIDNIGHT + n * DAY, end=MIDNIGHT + (n + 1) * DAY)["kwhDeliveredDc"]
        for n in range(3)
    ]

    assert drawn(hours) == pytest.approx([1] * 72, abs=1e-9)
    assert drawn(days["items"]) == pytest.approx([24] * 3, abs=1e-9)
    assert summaries == pytest.approx([24] * 3, abs=1e-9)
    assert summary(client, **window)["kwhDeliveredDc"] == days["kwhDeliveredDc"] == 72


def test_a_register_that_is_read_once_a_day_has_energy_in_24_hours(client: FlaskClient) -> None:
    post(client, dc(every(DAY, 100, 120, 140, start=MIDNIGHT + 7 * HOUR)))
    day = {"start": MIDNIGHT + 10 * HOUR, "end": MIDNIGHT + 34 * HOUR}

    assert summary(client, **day)["kwhDeliveredDc"] == pytest.approx(20)
    assert "estimated_edge" in summary(client, **day)["warnings"]
    # Between readings alone there is none.
    assert summary(client, **day, edges="readings")["kwhDeliveredDc"] is None
    assert "estimated_edge" not in summary(client, **day, edges="readings")["warnings"]


@refreshed_or_not
def test_what_flowed_while_a_meter_was_silent_is_of_the_months_of_its_silence(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    november = last_change_to_winter().replace(month=11, day=1)
    october = november.replace(month=10)
    silent = [
        datetime(october.year, 10, 1, 0, 0, tzinfo=UTC),
        datetime(november.year, 11, 5, 0, 0, tzinfo=UTC),
    ]
    post(client, ac([(silent[0], 1000.0), (silent[1], 1152.3)]))
    prepare(sql)
    window = {"start": silent[0] - DAY, "end": silent[1] + DAY, "tz": "Europe/Berlin"}

    series = ask(client, "meters/M-1/series", **window, bucket="1mo")

    september, *months = series["items"]
    assert september["kwhConsumedAc"] is None
    assert all(item["kwhConsumedAc"] > 0 for item in months)
    assert sum(item["kwhConsumedAc"] for item in months) == pytest.approx(152.3, abs=1e-9)


@refreshed_or_not
def test_a_step_in_which_a_vehicle_moves_is_split_at_the_move(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    start = MIDNIGHT + 10 * HOUR
    post(client, ac(every(10 * MINUTE, 100, 110, start=start), "M-1"))
    post(client, ac(every(10 * MINUTE, 50, 70, start=start), "M-2"))
    post(client, dc(every(10 * MINUTE, 0, 14, start=start)))
    plug(client, "M-1", MIDNIGHT)
    plug(client, "M-2", start + 4 * MINUTE)
    prepare(sql)

    for answer in (
        summary(client, start=start, end=start + HOUR),
        ask(client, "performance", start=start, end=start + HOUR)["items"][0],
    ):
        assert answer["kwhConsumedAc"] == pytest.approx(10 * 0.4 + 20 * 0.6)
        assert answer["kwhDeliveredDcMetered"] == pytest.approx(14)
        assert answer["meterIds"] == ["M-1", "M-2"]
        assert "estimated_edge" in answer["warnings"]


@refreshed_or_not
def test_the_share_of_a_vehicle_that_was_offline_is_right_once_it_is_back(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    start = MIDNIGHT + 10 * HOUR
    window = {"start": start, "end": start + HOUR}
    for name in ("A", "B"):
        plug(client, "M-1", MIDNIGHT, to=name)
    post(client, ac([(start + n * MINUTE, 100 + 22.55 * n / 60) for n in range(61)]))
    post(client, dc([(start + n * MINUTE, 10 + 0.05 * n / 60) for n in range(61)], "A"))
    post(client, dc([(start, 500)], "B"))
    prepare(sql)

    away = summary(client, "A", **window)
    post(client, dc([(start + HOUR, 522.5)], "B"))
    back = [summary(client, name, **window) for name in ("A", "B")]

    assert away["kwhConsumedAc"] == pytest.approx(22.55)
    assert {"shared_meter", "shared_meter_uncertain"} <= set(away["warnings"])
    assert [answer["kwhConsumedAc"] for answer in back] == pytest.approx([0.05, 22.5])
    for answer in back:
        assert "shared_meter" in answer["warnings"]
        assert "shared_meter_uncertain" not in answer["warnings"]


@pytest.mark.parametrize("minutes", [15, 30])
def test_a_device_that_reports_at_its_interval_is_complete(
    client: FlaskClient, sql: Connection, minutes: int
) -> None:
    interval = minutes * MINUTE
    values = every(interval, *range(100, 101 + DAY // interval), start=MIDNIGHT)
    register(sql, "meter", "M-1", interval)
    register(sql, "vehicle", "V-1", interval)
    post(client, ac(values) + dc(values))
    plug(client, "M-1", MIDNIGHT)
    window = {"start": MIDNIGHT, "end": MIDNIGHT + DAY}

    (item,) = ask(client, "performance", **window)["items"]
    for answer in (item, summary(client, **window), ask(client, "fleet", **window)):
        assert (answer["vehicleCoverage"], answer["meterCoverage"]) == (1.0, 1.0)
        assert "low_coverage" not in answer["warnings"]
    raw = ask(client, "meters/M-1/series", **window, bucket="raw")
    assert len(raw["items"]) == DAY // interval
    assert raw["warnings"] == []


def last_change_to_winter() -> datetime:
    """Return the last Sunday of October of the last year in which it is well over."""
    year = (NOW - timedelta(days=8)).year
    for candidate in (year, year - 1):
        last = date(candidate, 10, 31)
        sunday = last - timedelta(days=(last.weekday() + 1) % 7)
        if sunday < (NOW - timedelta(days=12)).date():
            return datetime(sunday.year, sunday.month, sunday.day, tzinfo=UTC)
    raise AssertionError("it was less than a year ago")


@refreshed_or_not
def test_the_days_around_the_change_to_winter_in_berlin_have_24_25_and_24_kwh(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    sunday = last_change_to_winter()
    start, end = (
        (sunday + offset * DAY).replace(tzinfo=zone("Europe/Berlin")).astimezone(UTC)
        for offset in (-1, 2)
    )
    values = every(HOUR, *range(100, 180), start=start - 2 * HOUR)
    post(client, ac(values) + dc(values))
    plug(client, "M-1", start - DAY)
    prepare(sql)
    window = {"start": start, "end": end, "bucket": "1d", "tz": "Europe/Berlin"}
    bounds = [start, start + 24 * HOUR, start + 49 * HOUR, end]

    for route in ("meters/M-1/series", "fleet"):
        answer = ask(client, route, **window)
        assert [(item["start"], item["end"]) for item in answer["items"]] == [
            (at(since), at(until)) for since, until in pairwise(bounds)
        ]
        assert drawn(answer["items"]) == pytest.approx([24, 25, 24], abs=1e-9)
    assert "hours" not in answer
    assert (answer["windowStart"], answer["windowEnd"]) == (at(start), at(end))
    assert answer["kwhConsumedAcMapped"] == pytest.approx(73)
    # A day that is asked for as 24 hours is the whole day.
    (day,) = ask(client, "fleet", end=bounds[2] + 5 * HOUR, bucket="1d", tz="Europe/Berlin")[
        "items"
    ]
    assert (day["start"], day["kwhConsumedAc"]) == (at(bounds[1]), pytest.approx(25))
    page = ask(client, "performance", start=bounds[1], end=bounds[2], tz="Europe/Berlin")
    assert drawn(page["items"]) == pytest.approx([25], abs=1e-9)


@refreshed_or_not
def test_hours_of_a_zone_between_those_of_utc_add_up_to_its_day(
    client: FlaskClient, sql: Connection, prepare: Prepare
) -> None:
    values = every(10 * MINUTE, *(100 + n * 0.3 for n in range(400)), start=MIDNIGHT - 12 * HOUR)
    post(client, ac(values) + dc(values))
    plug(client, "M-1", MIDNIGHT - DAY)
    prepare(sql)
    start = MIDNIGHT.replace(tzinfo=zone("Asia/Kathmandu")).astimezone(UTC)
    window = {"start": start, "end": start + DAY, "tz": "Asia/Kathmandu"}

    hours = ask(client, "fleet", **window)

    assert [item["start"] for item in hours["items"]] == [at(start + n * HOUR) for n in range(24)]
    assert hours["hours"] == hours["items"]
    assert drawn(hours["items"]) == pytest.approx([1.8] * 24, abs=1e-9)
    (day,) = ask(client, "fleet", **window, bucket="1d")["items"]
    assert day["kwhConsumedAc"] == pytest.approx(43.2)
    (vehicle_day,) = ask(client, "performance", **window)["items"]
    assert vehicle_day == summary(client, start=start, end=start + DAY)
