"""From the Apache edition to Community and not back, on a server whose build has both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import EditionChanged
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations
from fleetwatt.lifecycle import policies
from fleetwatt.streams import METER, STREAMS
from fleetwatt.times import parse_duration
from tests.conftest import refresh, rows
from tests.examples import NOW, ago, at, meter, vehicle
from tests.native.binaries import bindir
from tests.native.server import NativeServer
from tests.storage import run

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)
Routes = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _both_editions() -> None:
    if not any(bindir().parent.rglob("timescaledb-tsl-*.so")):
        pytest.skip("this server's build has no TSL library")


@pytest.fixture
def server() -> Iterator[NativeServer]:
    """On the Apache edition, with a day of readings every five minutes."""
    settings = {"shared_buffers": "64MB", "timescaledb.license": "apache"}
    with NativeServer(settings) as server:
        upgrade(server)
        client = create_app(Config(database_url=server.url)).test_client()
        batch = [
            make(**{counter: minute / 10}, timestamp=at(NOW - timedelta(days=2, minutes=-minute)))
            for make, counter in ((meter, "kwhConsumedAc"), (vehicle, "kwhDeliveredDc"))
            for minute in range(0, 1440, 5)
        ]
        assert client.post("/v1/ingestion", json=batch).status_code == 201
        mapping = {"vehicleId": "V-999", "meterId": "M-123"}
        assert client.post("/v1/ingestion/mapping", json=mapping).status_code == 201
        yield server


def upgrade(server: NativeServer) -> str:
    environment = {"FLEETWATT_DATABASE_URL": server.url}
    done = CliRunner().invoke(fleetwatt, ["db", "upgrade"], env=environment)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def license_as(server: NativeServer, edition: str) -> None:
    """As a DBA would: in postgresql.conf, and a restart."""
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(f"timescaledb.license = '{edition}'\n")
    server.restart()


def session(server: NativeServer) -> Iterator[Connection]:
    with closing(connect(Config(database_url=server.url))) as connection:
        yield connection


def answers(server: NativeServer) -> Routes:
    """What does not depend on when it is asked."""
    app = create_app(Config(database_url=server.url))
    client = app.test_client()
    routes = (
        f"/v1/analytics/performance/V-999?hours=24&end={ago(hours=24, minutes=7)}",
        f"/v1/analytics/performance/V-999?hours=744&end={ago(hours=1)}",
        "/v1/mappings",
    )
    responses = {route: client.get(route) for route in routes}
    app.extensions["fleetwatt"].close()
    assert {response.status_code for response in responses.values()} == {200}
    return {route: response.json for route, response in responses.items()}


def test_an_upgrade_takes_the_schema_to_community_and_the_answers_stay(
    server: NativeServer,
) -> None:
    before = answers(server)
    license_as(server, "timescale")

    told = upgrade(server)

    assert "leave/apache.sql" in told
    assert "0003_policies.sql" in told
    assert upgrade(server) == "The schema is up to date.\n"
    assert answers(server) == before
    for connection in session(server):
        aggregates = "SELECT view_name FROM timescaledb_information.continuous_aggregates"
        assert {name for (name,) in rows(connection, aggregates)} == {
            name for stream in STREAMS for name in stream.aggregates
        }
        refresh(connection)
        hours = "SELECT count(*) FROM meter_hourly WHERE meter_id = 'M-123'"
        [(count,)] = rows(connection, hours)
        assert count in {24, 25}
    assert answers(server) == before


def test_an_upgrade_carries_over_how_long_history_is_kept(server: NativeServer) -> None:
    """The first is shorter than by default, the second set by nobody: for ever."""
    assert run(server.url, "retention", "set", "meter_telemetry", "30d", "--yes").exit_code == 0
    license_as(server, "timescale")

    upgrade(server)

    with closing(Database(Config(database_url=server.url))) as database:
        meters, vehicles = policies.read(database).values()
        assert meters.keep_raw == timedelta(days=30)
        assert meters.keep_hourly == timedelta(days=3650)
        assert meters.refresh_from == timedelta(days=29)
        assert (vehicles.keep_raw, vehicles.keep_hourly) == (None, None)
        assert vehicles.refresh_from is None
        for in_force in (meters, vehicles):
            assert in_force.refreshed
            assert in_force.guarded
            assert list(policies.breaches(in_force, database.lateness, NOW)) == []


@pytest.mark.parametrize(
    ("on_apache", "raw", "hourly"), [("1h", "27h", "3650d"), ("4000d", "4000d", "4000d")]
)
def test_what_would_break_a_rule_of_community_becomes_the_nearest_that_does_not(
    server: NativeServer, on_apache: str, raw: str, hourly: str
) -> None:
    assert run(server.url, "retention", "set", "meter_telemetry", on_apache, "--yes").exit_code == 0
    license_as(server, "timescale")

    upgrade(server)

    with closing(Database(Config(database_url=server.url))) as database:
        kept = policies.read(database)[METER]
        assert (kept.keep_raw, kept.keep_hourly) == (parse_duration(raw), parse_duration(hourly))
        assert list(policies.breaches(kept, database.lateness, NOW)) == []


def test_before_the_upgrade_a_service_says_that_the_schema_is_behind(
    server: NativeServer,
) -> None:
    license_as(server, "timescale")

    response = create_app(Config(database_url=server.url)).test_client().get("/readyz")

    assert response.status_code == 503
    assert response.json
    assert "fleetwatt db upgrade" in response.json["detail"]


def test_what_a_dba_built_on_the_views_is_not_dropped(server: NativeServer) -> None:
    for connection in session(server):
        with connection.cursor() as cursor:
            cursor.execute("CREATE VIEW my_own AS SELECT * FROM meter_hourly")
    license_as(server, "timescale")

    for connection in session(server):
        with pytest.raises(EditionChanged, match="view my_own depends on view meter_hourly"):
            list(migrations.upgrade(connection))

        assert rows(connection, "SELECT count(*) > 0 FROM my_own") == [(True,)]


def test_there_is_no_way_back_to_the_apache_edition(server: NativeServer) -> None:
    license_as(server, "timescale")
    upgrade(server)
    license_as(server, "apache")

    for connection in session(server):
        with pytest.raises(EditionChanged, match="license back to timescale"):
            list(migrations.upgrade(connection))
