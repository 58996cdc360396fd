"""Ingestion by several processes at once, which the embedded database can't show."""

from __future__ import annotations

import http.client
import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.streams import METER, Rows
from tests.conftest import rows, serving
from tests.examples import NOW, at, meter, vehicle
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)

CLIENTS = 32
REQUESTS = 12
DEVICES = 40
MINUTES = 90
Key = tuple[str, str]


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[str]:
    with serving(database_url, 4, tmp_path / "log") as url:
        yield url


def readings(chance: random.Random) -> list[dict[str, Any]]:
    """A batch of shared devices, out of order, parts of it sent by others too."""
    batch = []
    for _ in range(chance.randint(1, 300)):
        device, minute = chance.randrange(DEVICES), chance.randrange(MINUTES)
        timestamp = at(NOW - timedelta(minutes=minute))
        value = float(MINUTES - minute)
        batch.append(
            meter(meterId=f"M-{device}", kwhConsumedAc=value, timestamp=timestamp)
            if chance.random() < 0.5
            else vehicle(vehicleId=f"V-{device}", kwhDeliveredDc=value, timestamp=timestamp)
        )
    return batch


def key(reading: dict[str, Any]) -> Key:
    return reading.get("meterId") or reading["vehicleId"], reading["timestamp"]


def post_until_acknowledged(url: str, seed: int) -> tuple[set[Key], int, list[int]]:
    """Return what was acknowledged, how much of it as stored now, and the other statuses."""
    chance = random.Random(seed)
    acknowledged: set[Key] = set()
    accepted = 0
    others: list[int] = []
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    for _ in range(REQUESTS):
        batch = readings(chance)
        while True:
            connection.request(
                "POST", "/v1/ingestion", json.dumps(batch), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            answer = json.load(response)
            if response.status in {200, 201}:
                break
            others.append(response.status)
            assert response.status == 503, answer
        acknowledged |= {key(reading) for reading in batch}
        accepted += answer["accepted"]
    connection.close()
    return acknowledged, accepted, others


def stored(sql: Connection, stream: str, kwh: str) -> set[tuple[str, str, float]]:
    found = rows(sql, f"SELECT {stream}_id, time, {kwh} FROM {stream}_telemetry")
    assert len(found) == len({(device, time) for device, time, _ in found})
    return {(device, at(time.astimezone(NOW.tzinfo)), value) for device, time, value in found}


def check_everything_is_there(sql: Connection, acknowledged: set[Key]) -> int:
    history = stored(sql, "meter", "kwh_consumed_ac") | stored(sql, "vehicle", "kwh_delivered_dc")
    assert {(device, time) for device, time, _ in history} >= acknowledged
    newest: dict[str, tuple[str, float]] = {}
    for device, time, value in history:
        newest[device] = max(newest.get(device, ("", 0.0)), (time, value))
    latest = rows(
        sql,
        "SELECT meter_id, time, kwh_consumed_ac FROM meters_latest UNION ALL "
        "SELECT vehicle_id, time, kwh_delivered_dc FROM vehicles_latest",
    )
    assert {
        device: (at(time.astimezone(NOW.tzinfo)), value) for device, time, value in latest
    } == newest
    return len(history)


def deadlocks(sql: Connection) -> int:
    [(count,)] = rows(
        sql, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(count)


def test_overlapping_batches_of_many_clients_are_stored_once(server: str, sql: Connection) -> None:
    before = deadlocks(sql)

    with ThreadPoolExecutor(CLIENTS) as clients:
        results = list(
            clients.map(lambda seed: post_until_acknowledged(server, seed), range(CLIENTS))
        )

    assert [others for _, _, others in results] == [[]] * CLIENTS
    acknowledged = set().union(*(keys for keys, _, _ in results))
    assert check_everything_is_there(sql, acknowledged) == len(acknowledged)
    assert sum(accepted for _, accepted, _ in results) == len(acknowledged)
    assert deadlocks(sql) == before


def test_a_device_that_another_transaction_makes_meanwhile_moves_forward_all_the_same(
    config: Config, sql: Connection, database_url: str
) -> None:
    insert = (
        "INSERT INTO meters_latest (meter_id, time, kwh_consumed_ac, voltage) "
        "VALUES ('M-1', %s, 1, 230)"
    )
    newer = Rows(METER, [("M-1", NOW, 2.0, 230.0)])
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with (
        closing(Database(config)) as database,
        closing(psycopg2.connect(database_url)) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        with other.cursor() as cursor:
            cursor.execute(insert, [NOW - timedelta(minutes=1)])
        written = thread.submit(database.write, [newer])
        eventually(lambda: rows(sql, waiting) != [], "it does not wait for the other")
        other.commit()

        assert written.result(60).accepted == 1

    assert rows(sql, "SELECT time, kwh_consumed_ac FROM meters_latest") == [(NOW, 2.0)]
