"""pg_dump and pg_restore as docs/how-to/backup.md says: what is restored gives the same answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import editions, migrations, roles
from tests.conftest import refresh, rows
from tests.examples import NOW, ago, at, meter, vehicle
from tests.native.binaries import bindir, run
from tests.native.server import NativeServer

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)
FAST = {"shared_buffers": "64MB"}
DAYS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    """With three days of readings: a part aggregated, one day compressed where that can be."""
    with NativeServer(FAST) as server:
        with closing(connect(Config(database_url=server.url))) as connection:
            list(migrations.upgrade(connection))
            roles.apply(connection)
            fill(server.url)
            refresh(connection)
            if editions.edition(connection) == "timescale":
                oldest = "SELECT compress_chunk(c) FROM show_chunks('meter_telemetry') AS c LIMIT 1"
                rows(connection, oldest)
        yield server


@pytest.fixture(scope="module")
def restored(server: NativeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of another server, which has been given the dump."""
    file = tmp_path_factory.mktemp("backup") / "fleetwatt.dump"
    run(bindir() / "pg_dump", "--format=custom", f"--file={file}", f"--dbname={server.url}")
    with NativeServer(FAST) as other:
        restore(file, other.url)
        yield re.sub("/postgres$", "/fleetwatt", other.url)


def upgrade(url: str) -> None:
    with closing(connect(Config(database_url=url))) as connection:
        list(migrations.upgrade(connection))


def fill(url: str) -> None:
    app = create_app(Config(database_url=url))
    client = app.test_client()
    batch = [
        make(**{counter: minute / 10}, timestamp=at(NOW - timedelta(days=DAYS, minutes=-minute)))
        for make, counter in ((meter, "kwhConsumedAc"), (vehicle, "kwhDeliveredDc"))
        for minute in range(0, DAYS * 1440, 10)
    ]
    assert client.post("/v1/ingestion", json=batch).status_code == 201
    mapping = {"vehicleId": "V-999", "meterId": "M-123"}
    assert client.post("/v1/ingestion/mapping", json=mapping).status_code == 201
    app.extensions["fleetwatt"].close()


def restore(file: Path, url: str) -> None:
    """As docs/how-to/backup.md says."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE fleetwatt")
    target = re.sub("/postgres$", "/fleetwatt", url)
    with closing(connect(Config(database_url=target))) as connection:
        roles.apply(connection)
    with closing(psycopg2.connect(target)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION timescaledb")
            cursor.execute("SELECT timescaledb_pre_restore()")
    run(bindir() / "pg_restore", "--exit-on-error", f"--dbname={target}", file)
    with closing(psycopg2.connect(target)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT timescaledb_post_restore()")
            cursor.execute("ANALYZE")


def answers(url: str) -> dict[str, Any]:
    app = create_app(Config(database_url=url))
    client = app.test_client()
    windows = [(24, 1), (24, 25), (7, 40), (72, 1), (744, 0)]
    routes = [
        *(
            f"/v1/analytics/performance/V-999?hours={hours}&end={ago(hours=back, minutes=7)}"
            for hours, back in windows
        ),
        "/v1/mappings",
        "/v1/status/meters/M-123",
        "/v1/status/vehicles",
    ]
    found = {route: client.get(route) for route in routes}
    app.extensions["fleetwatt"].close()
    assert {response.status_code for response in found.values()} == {200}
    # A reading's age is that of the moment of asking.
    return {
        route: re.sub(r'"ageSeconds":[\d.]+', "", response.text)
        for route, response in found.items()
    }


def test_a_restored_database_gives_the_same_answers(server: NativeServer, restored: str) -> None:
    assert answers(restored) == answers(server.url)


def test_a_restored_database_is_served_and_stores_on(restored: str) -> None:
    app = create_app(Config(database_url=restored))
    client = app.test_client()

    late = meter(timestamp=ago(days=2, minutes=1), kwhConsumedAc=144)
    assert client.post("/v1/ingestion/meter", json=meter()).status_code == 201
    assert client.post("/v1/ingestion/meter", json=late).status_code == 201
    assert client.post("/v1/ingestion/meter", json=late).status_code == 200
    app.extensions["fleetwatt"].close()


def test_a_service_whose_database_is_replaced_says_so_until_there_is_a_schema(
    server: NativeServer,
) -> None:
    url = re.sub("/postgres$", "/replaced", server.url)
    routes = ("/readyz", "/v1/status/meters", "/v1/mappings")
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE replaced")
        upgrade(url)
        app = create_app(Config(database_url=url))
        client = app.test_client()
        assert client.post("/v1/ingestion/meter", json=meter()).status_code == 201

        cursor.execute("DROP DATABASE replaced WITH (FORCE)")
        cursor.execute("CREATE DATABASE replaced")

        assert client.post("/v1/ingestion/meter", json=meter()).status_code == 503
        assert {client.get(route).status_code for route in routes} == {503}
        upgrade(url)
        assert client.post("/v1/ingestion/meter", json=meter()).status_code == 201
        assert {client.get(route).status_code for route in routes} == {200}
        app.extensions["fleetwatt"].close()
        cursor.execute("DROP DATABASE replaced WITH (FORCE)")


def test_a_restored_database_is_the_owner_s_and_served_by_the_app(restored: str) -> None:
    with closing(psycopg2.connect(restored)) as connection:
        connection.autocommit = True
        connection.cursor().execute("ALTER ROLE fleetwatt_app PASSWORD 'secret'")
        owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE '%%_telemetry'"
        assert rows(connection, owner) == [("fleetwatt_owner",)]

    as_app = re.sub("//.*@", "//fleetwatt_app:secret@", restored)

    assert answers(as_app) == answers(restored)


def test_a_restored_database_is_up_to_date_and_has_its_policies(
    server: NativeServer, restored: str
) -> None:
    jobs = (
        "SELECT proc_name, schedule_interval::text, config ->> 'drop_after', scheduled, owner::text"
        " FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY job_id"
    )
    with closing(connect(Config(database_url=restored))) as connection:
        assert list(migrations.upgrade(connection)) == []
        there = rows(connection, jobs)
    with closing(connect(Config(database_url=server.url))) as connection:
        assert there == rows(connection, jobs)
