from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from tests.api.test_late_data import compress, leave
from tests.conftest import refresh
from tests.examples import NOW, Reading, at, meter, vehicle

DAY = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=3)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def post(client: FlaskClient, *readings: Reading) -> None:
    for first in range(0, len(readings), 10_000):
        response = client.post("/v1/ingestion", json=readings[first : first + 10_000])
        assert response.status_code == 201, response.json


def dc(time: datetime, kwh: float, **changes: Any) -> Reading:
    return vehicle(kwhDeliveredDc=kwh, timestamp=at(time), **changes)


def ask(client: FlaskClient, device: str = "vehicles/V-999", **query: Any) -> TestResponse:
    accept = query.pop("accept", None)
    return client.get(
        f"/v1/analytics/{device}/series",
        query_string={name: at(v) if isinstance(v, datetime) else v for name, v in query.items()},
        headers={"Accept": accept} if accept else {},
    )


def items(client: FlaskClient, device: str = "vehicles/V-999", **query: Any) -> list[Any]:
    response = ask(client, device, **query)
    assert response.status_code == 200, response.text
    assert response.json
    return list(response.json["items"])


def test_a_vehicles_bucket_tells_energy_register_charge_and_temperature(
    client: FlaskClient,
) -> None:
    post(
        client,
        dc(DAY + 10 * MINUTE, 5, soc=50, batteryTemp=20),
        dc(DAY + 30 * MINUTE, 7, soc=40, batteryTemp=30),
        dc(DAY + 50 * MINUTE, 6, soc=45, batteryTemp=28),
    )

    response = ask(client, start=DAY, end=DAY + 59 * MINUTE)

    assert response.json == {
        "vehicleId": "V-999",
        "windowStart": at(DAY),
        "windowEnd": at(DAY + 59 * MINUTE),
        "bucket": "1h",
        "warnings": ["counter_reset"],
        "items": [
            {
                "start": at(DAY),
                "end": at(DAY + HOUR),
                "kwhDeliveredDc": 2,
                "lastKwhDeliveredDc": 6,
                "firstSoc": 50,
                "lastSoc": 45,
                "minSoc": 40,
                "maxSoc": 50,
                "minBatteryTemp": 20,
                "avgBatteryTemp": 26,
                "maxBatteryTemp": 30,
                "readings": 3,
                "counterResets": 1,
                "ignoredReadings": 0,
            }
        ],
    }


def test_a_meters_bucket_tells_energy_register_and_voltage(client: FlaskClient) -> None:
    post(
        client,
        meter(kwhConsumedAc=5, voltage=229, timestamp=at(DAY + 10 * MINUTE)),
        meter(kwhConsumedAc=7.5, voltage=232, timestamp=at(DAY + 11 * MINUTE)),
    )

    answer = items(client, "meters/M-123", start=DAY, end=DAY + 12 * MINUTE, bucket="15m")

    assert answer == [
        {
            "start": at(DAY),
            "end": at(DAY + 15 * MINUTE),
            "kwhConsumedAc": 2.5,
            "lastKwhConsumedAc": 7.5,
            "minVoltage": 229,
            "avgVoltage": 230.5,
            "maxVoltage": 232,
            "readings": 2,
            "counterResets": 0,
            "ignoredReadings": 0,
        }
    ]


def test_every_bucket_shows_and_one_after_the_last_reading_holds_nulls(
    client: FlaskClient,
) -> None:
    post(client, dc(DAY + MINUTE, 1), dc(DAY + 3 * HOUR + MINUTE, 4))

    answer = items(client, start=DAY, end=DAY + 5 * HOUR)

    assert [(item["start"], item["end"]) for item in answer] == [
        (at(DAY + n * HOUR), at(DAY + (n + 1) * HOUR)) for n in range(5)
    ]
    assert [item["readings"] for item in answer] == [1, 0, 0, 1, 0]
    assert [item["kwhDeliveredDc"] is None for item in answer] == [False] * 4 + [True]
    assert {name for name, value in answer[4].items() if value is not None} == {
        "start",
        "end",
        "readings",
        "counterResets",
        "ignoredReadings",
    }


@pytest.mark.parametrize("tz", ["UTC", "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("bucket", ["5m", "15m", "30m", "1h", "1d", "1w", "1mo"])
@pytest.mark.parametrize("prepare", [leave, refresh])
def test_the_energy_of_the_buckets_adds_up_to_the_summary(
    client: FlaskClient,
    sql: Connection,
    prepare: Callable[[Connection], None],
    bucket: str,
    tz: str,
) -> None:
    # Not a divisor of an hour, a fall now and then, and hours of silence.
    times = [DAY + 7 * MINUTE * n for n in range(300) if n % 50 < 35]
    post(client, *(dc(time, 100 + 0.7 * n - 20 * (n // 60)) for n, time in enumerate(times)))
    prepare(sql)
    end = DAY + timedelta(hours=30, minutes=17)
    start = end - 24 * HOUR

    answer = items(client, start=start, end=end, bucket=bucket, tz=tz)

    summary = client.get(
        "/v1/analytics/performance/V-999", query_string={"end": at(end), "edges": "interpolated"}
    ).json
    assert summary
    assert sum(bucket["kwhDeliveredDc"] or 0 for bucket in answer) == pytest.approx(
        summary["kwhDeliveredDc"], abs=1e-9
    )
    assert sum(bucket["counterResets"] for bucket in answer) == summary["counterResets"] > 0
    assert sum(bucket["readings"] for bucket in answer) == summary["vehicleReadings"]


def test_a_step_is_spread_over_the_buckets_that_it_crosses(client: FlaskClient) -> None:
    post(client, dc(DAY + 45 * MINUTE, 10), dc(DAY + 75 * MINUTE, 13))

    energy = [item["kwhDeliveredDc"] for item in items(client, start=DAY, end=DAY + 80 * MINUTE)]

    assert energy == [1.5, 1.5]


def test_a_bucket_and_a_window_have_their_first_moment_and_not_their_last(
    client: FlaskClient,
) -> None:
    post(client, *(dc(DAY + n * HOUR, n) for n in range(3)))

    answer = items(client, start=DAY, end=DAY + 2 * HOUR)

    assert [(item["start"], item["lastKwhDeliveredDc"]) for item in answer] == [
        (at(DAY), 0),
        (at(DAY + HOUR), 1),
    ]
    raw = items(client, start=DAY, end=DAY + 2 * HOUR, bucket="raw")
    assert [item["start"] for item in raw if item["readings"]] == [at(DAY), at(DAY + HOUR)]


def test_a_bucket_that_the_window_cuts_counts_what_is_inside_and_says_its_own_bounds(
    client: FlaskClient,
) -> None:
    post(client, *(dc(DAY + n * 10 * MINUTE, n) for n in range(13)))

    answer = items(client, start=DAY + 30 * MINUTE, end=DAY + 70 * MINUTE)

    assert [
        (item["start"], item["end"], item["kwhDeliveredDc"], item["readings"]) for item in answer
    ] == [(at(DAY), at(DAY + HOUR), 3, 3), (at(DAY + HOUR), at(DAY + 2 * HOUR), 1, 1)]


def test_raw_shows_each_reading_and_an_empty_item_a_minute_after_the_last_before_silence(
    client: FlaskClient,
) -> None:
    heard = [DAY + MINUTE * n for n in (1, 2, 3)] + [DAY + 20 * MINUTE, DAY + 21.5 * MINUTE]
    post(client, *(dc(time, n) for n, time in enumerate(heard)))

    answer = items(client, start=DAY, end=DAY + 30 * MINUTE, bucket="raw")

    assert [(bucket["start"], bucket["lastKwhDeliveredDc"]) for bucket in answer] == [
        (at(DAY + 1 * MINUTE), 0),
        (at(DAY + 2 * MINUTE), 1),
        (at(DAY + 3 * MINUTE), 2),
        (at(DAY + 4 * MINUTE), None),
        (at(DAY + 20 * MINUTE), 3),
        (at(DAY + 21.5 * MINUTE), 4),
        (at(DAY + 22.5 * MINUTE), None),
    ]


def test_raw_tells_the_rise_at_each_reading_and_which_ones_are_ignored(
    client: FlaskClient,
) -> None:
    registers = [500, 500.5, 9917, 501, 12, 12.5]
    post(client, *(dc(DAY + MINUTE * n, kwh) for n, kwh in enumerate(registers)))

    answer = items(client, start=DAY, end=DAY + 6 * MINUTE, bucket="raw")

    assert [item["kwhDeliveredDc"] for item in answer] == [None, 0.5, None, 0.5, 0, 0.5]
    assert [item["ignored"] for item in answer] == [False, False, True, False, False, False]
    assert [item["counterResets"] for item in answer] == [0, 0, 0, 0, 1, 0]
    assert [item["ignoredReadings"] for item in answer] == [0, 0, 1, 0, 0, 0]
    assert [item["lastKwhDeliveredDc"] for item in answer] == registers
    assert all(item["end"] == item["start"] for item in answer)
    assert list(answer[0])[-1] == "ignored"


def test_raw_tells_a_whole_rise_even_where_the_reading_before_is_out_of_the_window(
    client: FlaskClient,
) -> None:
    post(client, dc(DAY - MINUTE, 1), dc(DAY + MINUTE, 3))

    answer = items(client, start=DAY, end=DAY + 2 * MINUTE, bucket="raw")

    assert [item["kwhDeliveredDc"] for item in answer] == [2]


def test_the_last_register_of_a_bucket_is_of_a_reading_that_is_not_ignored(
    client: FlaskClient,
) -> None:
    registers = [500, 500.5, 9917, 501]
    post(client, *(dc(DAY + (57 + n) * MINUTE, kwh) for n, kwh in enumerate(registers)))

    first, second = items(client, start=DAY, end=DAY + 2 * HOUR)

    assert (first["lastKwhDeliveredDc"], first["ignoredReadings"]) == (500.5, 1)
    assert (second["lastKwhDeliveredDc"], second["ignoredReadings"]) == (501, 0)


def test_empty_items_of_raw_follow_the_interval_of_the_device(
    client: FlaskClient, sql: Connection
) -> None:
    statement = "INSERT INTO devices (stream, id, interval_seconds) VALUES ('vehicle', %s, 900)"
    with sql.cursor() as cursor:
        cursor.execute(statement, ("V-999",))
    quarter = 15 * MINUTE
    post(client, *(dc(DAY + n * quarter, n) for n in (0, 1, 2, 5)))

    answer = items(client, start=DAY, end=DAY + 6 * quarter, bucket="raw")

    assert [(item["start"], item["readings"]) for item in answer] == [
        (at(DAY + n * quarter), count) for n, count in ((0, 1), (1, 1), (2, 1), (3, 0), (5, 1))
    ]
    assert answer[3] == dict.fromkeys(answer[3]) | {
        "start": at(DAY + 3 * quarter),
        "end": at(DAY + 3 * quarter),
        "readings": 0,
        "counterResets": 0,
        "ignoredReadings": 0,
        "ignored": False,
    }


def test_the_window_is_the_last_24_hours_in_hours_by_default(client: FlaskClient) -> None:
    post(client, vehicle())

    response = ask(client)

    assert response.json
    start, end = (datetime.fromisoformat(response.json[f"window{at}"]) for at in ("Start", "End"))
    assert end - start == 24 * HOUR
    assert sum(bucket["readings"] for bucket in response.json["items"]) == 1
    assert len(response.json["items"]) in {24, 25}


def test_a_window_that_was_silent_has_empty_buckets(client: FlaskClient) -> None:
    post(client, vehicle())

    answer = items(client, start=DAY, end=DAY + 3 * HOUR)
    raw = items(client, start=DAY, end=DAY + 3 * HOUR, bucket="raw")

    assert [bucket["readings"] for bucket in answer] == [0] * 3
    assert [(item["start"], item["readings"]) for item in raw] == [(at(DAY + MINUTE), 0)]


def test_days_are_those_of_utc_whatever_the_offset_of_the_window(client: FlaskClient) -> None:
    tokyo, lima = timezone(timedelta(hours=9)), timezone(timedelta(hours=-5))
    post(client, dc(DAY + HOUR, 1), dc(DAY + 23 * HOUR, 2), dc(DAY + 25 * HOUR, 4))

    answer = items(
        client,
        start=DAY.astimezone(tokyo),
        end=(DAY + 26 * HOUR).astimezone(lima),
        bucket="1d",
    )

    assert [(bucket["start"], bucket["kwhDeliveredDc"]) for bucket in answer] == [
        (at(DAY), 2),
        (at(DAY + 24 * HOUR), 1),
    ]


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(leave, id="never refreshed"),
        pytest.param(refresh, id="refreshed"),
        pytest.param(compress, id="compressed", marks=pytest.mark.community),
    ],
)
@pytest.mark.parametrize("bucket", ["1h", "1d"])
def test_a_late_reading_shows_at_once(
    client: FlaskClient, sql: Connection, prepare: Callable[[Connection], None], bucket: str
) -> None:
    window: dict[str, Any] = {"start": DAY, "end": DAY + 23 * HOUR, "bucket": bucket}
    hour = DAY + 5 * HOUR
    post(client, *(dc(hour + 20 * MINUTE * n, 10 + n, soc=50) for n in range(6)))
    prepare(sql)
    before = items(client, **window)

    # The register fell, and recovered at once.
    post(client, dc(hour + 30 * MINUTE, 4, soc=80))

    after = items(client, **window)
    number = 5 if bucket == "1h" else 0
    assert (before[number]["ignoredReadings"], before[number]["maxSoc"]) == (0, 50)
    assert (after[number]["ignoredReadings"], after[number]["maxSoc"]) == (1, 80)
    assert after[number]["readings"] == before[number]["readings"] + 1
    assert after[number]["kwhDeliveredDc"] == before[number]["kwhDeliveredDc"]
    refresh(sql)
    assert items(client, **window) == after


@pytest.mark.parametrize("bucket", ["raw", "5m"])
def test_csv_holds_what_json_holds_with_empty_cells_for_nulls(
    client: FlaskClient, bucket: str
) -> None:
    # More lines than one piece of the stream holds.
    times = [DAY + 7 * MINUTE * n for n in range(300)]
    post(client, *(dc(time, 100 + 0.1 * n) for n, time in enumerate(times)))
    window: dict[str, Any] = {"start": DAY, "end": DAY + 48 * HOUR, "bucket": bucket}

    response = ask(client, **window, accept="text/csv")

    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Vary"] == "Accept"
    head, *lines = list(csv.reader(io.StringIO(response.text, newline="")))
    expected = items(client, **window)
    assert len(lines) == len(expected) > 500
    assert head == list(expected[0])
    for line, item in zip(lines, expected, strict=True):
        assert line == [cell(value) for value in item.values()]
    assert head[:2] == ["start", "end"]
    assert (head[-1] == "ignored") == (bucket == "raw")


def cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("text/csv;header=present;q=0.1, application/json; charset=utf-8", "application/json"),
    ],
)
def test_the_form_is_the_one_that_the_client_prefers(
    client: FlaskClient, accept: str, form: str
) -> None:
    post(client, vehicle())

    assert ask(client, accept=accept).mimetype == form


def test_another_form_is_refused(client: FlaskClient) -> None:
    post(client, vehicle())

    response = ask(client, accept="text/html")

    assert response.status_code == 406
    assert response.mimetype == "application/problem+json"
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:not-acceptable"
    assert "text/csv" in response.json["detail"]


@pytest.mark.parametrize("device", ["vehicles/V-0", "meters/M-0"])
def test_a_device_never_seen_is_not_found(client: FlaskClient, device: str) -> None:
    response = ask(client, device)

    assert response.status_code == 404
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:not-known"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("start=2024-02-09T10:00:00Z&end=2024-02-09T10:00:00Z", "start"),
        ("start=2024-02-09T12:00:00%2B01:00&end=2024-02-09T10:30:00Z", "start"),
        ("start=9000-01-01T00:00:00Z", "start"),
        ("start=2024-02-09", "start"),
        ("end=2024-02-09T10:00:00", "end"),
        ("end=1969-12-31T23:00:00Z", "end"),
        ("bucket=2h", "bucket"),
        ("tz=Mars/Olympus", "tz"),
        ("tz=..%2F..%2Fetc%2Fpasswd", "tz"),
        ("start=2024-02-09T10:00:00Z&hours=3", "hours"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(client: FlaskClient, query: str, field: str) -> None:
    response = client.get(f"/v1/analytics/vehicles/V-999/series?{query}")

    assert response.status_code == 422
    assert response.json
    assert [error["field"] for error in response.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("bucket", "days", "points", "advice"),
    [
        ("5m", 35, "10,080", "bucket=15m would fit"),
        ("15m", 110, "10,560", "bucket=30m would fit"),
        ("30m", 400, "19,200", "bucket=1h would fit"),
        ("1h", 417, "10,008", "bucket=1d would fit"),
        ("1d", 10_001, "10,001", "bucket=1w would fit"),
        ("1w", 100_000, "14,2", "bucket=1mo would fit"),
        ("1mo", 400_000, "13,1", "ask for a shorter window"),
    ],
)
def test_too_many_buckets_are_refused_with_the_one_that_would_fit(
    client: FlaskClient, bucket: str, days: int, points: str, advice: str
) -> None:
    post(client, vehicle())

    start = DAY.replace(year=1990)
    response = ask(client, start=start, end=start + timedelta(days=days), bucket=bucket)

    assert response.status_code == 422
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:too-many-points"
    (error,) = response.json["errors"]
    assert error["field"] == "bucket"
    assert f"It would be {points}" in error["message"]
    assert advice in error["message"]


def test_ten_thousand_buckets_fit(client: FlaskClient) -> None:
    post(client, vehicle())

    answer = items(client, start=DAY - timedelta(days=10_000), end=DAY, bucket="1d")

    assert len(answer) == 10_000


def test_up_to_ten_thousand_readings_show_raw(client: FlaskClient) -> None:
    second = timedelta(seconds=1)
    post(client, *(dc(DAY + second * n, n) for n in range(1, 10_002)))

    full = items(client, start=DAY, end=DAY + 10_001 * second, bucket="raw")
    over = ask(client, start=DAY, end=DAY + 10_002 * second, bucket="raw")

    assert len(full) == 10_000
    assert over.status_code == 422
    assert over.json
    assert "at least 10,001 points" in over.json["detail"]
    assert "bucket=5m would fit" in over.json["detail"]


def test_the_nulls_of_raw_count_as_points(client: FlaskClient) -> None:
    post(client, *(dc(DAY - 2 * MINUTE * n, 10_000 - n) for n in range(5_001)))

    response = ask(client, start=DAY - 10_001 * MINUTE, end=DAY + MINUTE, bucket="raw")

    assert response.status_code == 422
    assert response.json
    assert "10,001 points" in response.json["detail"]
