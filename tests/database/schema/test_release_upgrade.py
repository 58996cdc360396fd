"""A database of release 0.1.0 is upgraded: what it stored is answered as the loop says.

On the embedded database; with FLEETWATT_NATIVE=1 on a server of this machine's packages instead.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import editions, migrations
from fleetwatt.embedded.database import EmbeddedDatabase
from fleetwatt.streams import STREAMS
from tests import reference
from tests.conftest import rows
from tests.examples import at
from tests.native.server import NativeServer

FIXTURE = Path(__file__).parents[2] / "fixtures" / "0.1.0"
STORED = (
    *("meter_telemetry", "vehicle_telemetry", "meters_latest", "vehicles_latest"),
    *("vehicle_meter_mapping", "api_keys"),
)
LAST_DAY = date(2026, 11, 29)
# They end yesterday: retention drops nothing of them, whenever this runs.
SHIFT = datetime.now(UTC).date() - timedelta(days=1) - LAST_DAY
START = datetime(2026, 11, 28, 16, tzinfo=UTC) + SHIFT
HOUR = timedelta(hours=1)


def text_of(file: str) -> str:
    return gzip.decompress((FIXTURE / file).read_bytes()).decode()


def shifted(text: str) -> str:
    return re.sub(r"2026-11-2[89]", lambda found: str(date.fromisoformat(found[0]) + SHIFT), text)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fresh server."""
    server = (
        NativeServer()
        if os.environ.get("FLEETWATT_NATIVE")
        else EmbeddedDatabase(tmp_path_factory.mktemp("before"))
    )
    with server:
        yield server.url


@pytest.fixture(scope="module")
def upgraded(url: str) -> Iterator[Connection]:
    """A database of 0.1.0, upgraded."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        fill(connection)
        with closing(connect(Config(database_url=url))) as upgrading:
            applied = list(migrations.upgrade(upgrading))
        assert "migrations/0001_telemetry.sql" not in applied
        assert any(file.startswith("migrations/0013_") for file in applied)
        yield connection


def fill(connection: Connection) -> None:
    """Apply the schema of 0.1.0, store what it stored, and materialize it."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        edition = editions.edition(connection)
        for part in text_of(f"{edition}.sql.gz").split("--> ")[1:]:
            _, _, statements = part.partition("\n")
            cursor.execute(statements)
        cursor.execute("SET TimeZone TO UTC")
        for table in STORED:
            columns, *lines = csv.reader(shifted(text_of(f"{table}.csv.gz")).splitlines())
            execute_values(
                cursor,
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s",
                [[cell or None for cell in line] for line in lines],
            )
        if edition == "timescale":
            for stream in STREAMS:
                cursor.execute(f"CALL refresh_continuous_aggregate('{stream.hourly}', NULL, NULL)")


@pytest.fixture
def client(url: str, upgraded: Connection) -> Iterator[FlaskClient]:  # noqa: ARG001
    app = create_app(Config(database_url=url, pool_size=2))
    yield app.test_client()
    app.extensions["fleetwatt"].close()


@pytest.fixture(scope="module")
def world(upgraded: Connection) -> reference.World:
    """What the files say, for the loop."""
    names = {field.column: field.name for stream in STREAMS for field in stream.fields}

    def readings(table: str) -> Iterator[dict[str, Any]]:
        columns, *lines = csv.reader(shifted(text_of(f"{table}.csv.gz")).splitlines())
        for line in lines:
            given = {names[column]: cell for column, cell in zip(columns, line, strict=True)}
            yield {
                name: at(datetime.fromisoformat(cell))
                if name == "timestamp"
                else cell
                if name.endswith("Id")
                else float(cell)
                for name, cell in given.items()
            }

    mappings = rows(
        upgraded,
        "SELECT vehicle_id, meter_id, lower(valid), upper(valid) FROM vehicle_meter_mapping",
    )
    return reference.World(
        [*readings("meter_telemetry"), *readings("vehicle_telemetry")],
        [
            {
                "vehicleId": vehicle,
                "meterId": meter,
                "validFrom": since and at(since),
                "validTo": until and at(until),
            }
            for vehicle, meter, since, until in mappings
        ],
    )


@pytest.mark.parametrize("edges", ["readings", "interpolated"])
@pytest.mark.parametrize("vehicle", ["V-00001", "V-00002", "V-00003"])
def test_summaries_after_the_upgrade_equal_the_loop(
    client: FlaskClient, world: reference.World, vehicle: str, edges: str
) -> None:
    bounds = [START + offset * HOUR for offset in (-1, 0, 2.75, 6, 7.4, 12, 13)]
    for start, end in itertools.combinations(bounds, 2):
        response = client.get(
            f"/v1/analytics/performance/{vehicle}",
            query_string={"start": at(start), "end": at(end), "edges": edges},
        )

        assert response.json
        for name, value in world.summary(vehicle, start, end, edges).items():
            expected = pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
            assert response.json[name] == expected, (name, start, end)


def test_nothing_that_was_stored_is_lost(upgraded: Connection) -> None:
    for table in STORED:
        _, *lines = text_of(f"{table}.csv.gz").splitlines()
        assert rows(upgraded, f"SELECT count(*) FROM {table}") == [(len(lines),)], table


def test_a_key_of_before_names_devices_without_their_kind(upgraded: Connection) -> None:
    assert rows(upgraded, "SELECT devices, names_kinds FROM api_keys") == [(["M-00001"], False)]


def test_readings_are_stored_on(client: FlaskClient) -> None:
    now = at(datetime.now(UTC).replace(microsecond=0))
    reading = {"meterId": "M-00001", "kwhConsumedAc": 1e6, "voltage": None, "timestamp": now}

    assert client.post("/v1/ingestion/meter", json=reading).status_code == 201
    status = client.get("/v1/status/meters/M-00001").json
    assert status
    assert (status["kwhConsumedAc"], status["voltage"]) == (1e6, None)
