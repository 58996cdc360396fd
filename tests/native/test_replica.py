"""A real streaming replica: what it answers, and that nobody misses it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from flask.testing import FlaskClient
from psycopg2.errors import QueryCanceled, SerializationFailure
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database import replica as replicas
from fleetwatt.database.client import Database
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations
from fleetwatt.version import VERSION
from tests.conftest import rows
from tests.examples import ago, vehicle
from tests.native.replica import NativeReplica
from tests.native.server import NativeServer
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)
# What autovacuum removes would cancel questions to the replica at any moment.
CALM = {"shared_buffers": "64MB", "autovacuum": "off"}
SUMMARY = "/v1/analytics/performance/V-999?hours=24"
STATUS = "/v1/status/vehicles/V-999"


@pytest.fixture(scope="module")
def primary() -> Iterator[NativeServer]:
    with NativeServer(CALM) as server:
        with closing(connect(Config(database_url=server.url))) as connection:
            list(migrations.upgrade(connection))
        yield server


@pytest.fixture(scope="module")
def replica(primary: NativeServer) -> Iterator[NativeReplica]:
    with NativeReplica(primary) as replica:
        yield replica


@pytest.fixture
def on_primary(primary: NativeServer) -> Iterator[Connection]:
    yield from session(primary)


@pytest.fixture
def on_replica(replica: NativeReplica, on_primary: Connection) -> Iterator[Connection]:
    """A session there, after the replica has replayed an empty fleet."""
    with on_primary.cursor() as cursor:
        cursor.execute("TRUNCATE meter_telemetry, vehicle_telemetry, meters_latest")
        cursor.execute("TRUNCATE vehicles_latest, vehicle_meter_mapping")
    for on_replica in session(replica):
        catch_up(on_primary, on_replica)
        yield on_replica


@pytest.fixture
def config(
    primary: NativeServer,
    replica: NativeReplica,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Config:
    request.getfixturevalue("on_replica")
    monkeypatch.setattr(replicas, "PAUSE", 0.5)
    return Config(database_url=primary.url, replica_url=replica.url, pool_size=2)


@pytest.fixture
def client(config: Config) -> Iterator[FlaskClient]:
    """Of a service that has found the replica."""
    app = create_app(config)
    client = app.test_client()
    wait_until(lambda: readiness(client)["status"] == "ok")
    yield client
    app.extensions["fleetwatt"].close()


def session(server: NativeServer) -> Iterator[Connection]:
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        yield connection


def wait_until(condition: Callable[[], bool]) -> None:
    def holds() -> bool:
        # The replica cancels whatever stands in the way of replay, questions of ours, too.
        with suppress(SerializationFailure, QueryCanceled):
            return condition()
        return False

    eventually(holds, "it never came about")


def catch_up(on_primary: Connection, on_replica: Connection) -> None:
    [(written,)] = rows(on_primary, "SELECT pg_current_wal_lsn()")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %(written)s::pg_lsn"
    wait_until(lambda: rows(on_replica, replayed, written=written) == [(True,)])


def readiness(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json
    assert response.json["status"] == "ok"
    told: dict[str, Any] = response.json["replica"]
    return told


def post(client: FlaskClient, **changes: Any) -> None:
    response = client.post("/v1/ingestion/vehicle", json=vehicle(**changes))
    assert response.status_code == 201


def readings(client: FlaskClient) -> int:
    response = client.get(SUMMARY)
    assert response.status_code == 200, response.text
    assert response.json
    count: int = response.json["vehicleReadings"]
    return count


@pytest.fixture
def one_replayed(client: FlaskClient, on_primary: Connection, on_replica: Connection) -> None:
    """A reading that both have: with more on the primary, the count says who answers."""
    post(client, timestamp=ago(minutes=10))
    catch_up(on_primary, on_replica)


@pytest.fixture
def paused(
    client: FlaskClient, on_replica: Connection, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Replay stands still, and a second reading on the primary alone."""
    request.getfixturevalue("one_replayed")
    rows(on_replica, "SELECT pg_wal_replay_pause()")
    state = "SELECT pg_get_wal_replay_pause_state()"
    wait_until(lambda: rows(on_replica, state) == [("paused",)])
    post(client, timestamp=ago(minutes=5))
    yield
    if not on_replica.closed:
        rows(on_replica, "SELECT pg_wal_replay_resume()")


@pytest.mark.usefixtures("paused")
def test_analytics_are_answered_by_the_replica(
    client: FlaskClient, on_primary: Connection, on_replica: Connection
) -> None:
    assert readings(client) == 1

    rows(on_replica, "SELECT pg_wal_replay_resume()")
    catch_up(on_primary, on_replica)

    assert readings(client) == 2


@pytest.mark.usefixtures("paused")
def test_status_is_answered_by_the_primary(client: FlaskClient) -> None:
    response = client.get(STATUS)

    assert response.json
    assert response.json["timestamp"] == ago(minutes=5)


@pytest.mark.usefixtures("paused")
def test_without_a_replica_the_primary_answers(config: Config) -> None:
    app = create_app(Config(database_url=config.database_url))
    client = app.test_client()

    assert readings(client) == 2
    assert client.get("/readyz").json == {"status": "ok", "version": VERSION}
    app.extensions["fleetwatt"].close()


@pytest.mark.usefixtures("paused")
def test_readiness_tells_how_far_the_replica_is_behind(
    client: FlaskClient, on_primary: Connection, on_replica: Connection
) -> None:
    wait_until(lambda: readiness(client)["lagSeconds"] > 0)
    assert readiness(client)["status"] == "ok"

    rows(on_replica, "SELECT pg_wal_replay_resume()")
    catch_up(on_primary, on_replica)

    wait_until(lambda: readiness(client) == {"status": "ok", "lagSeconds": 0.0})


@pytest.mark.usefixtures("one_replayed")
def test_the_primary_answers_while_the_replica_is_dead_and_the_replica_when_it_is_back(
    client: FlaskClient,
    replica: NativeReplica,
    on_primary: Connection,
    on_replica: Connection,
) -> None:
    on_replica.close()
    replica.kill9()
    post(client, timestamp=ago(minutes=5))

    assert readings(client) == 2
    assert readiness(client) == {"status": "away", "lagSeconds": None}

    replica.restart()
    wait_until(lambda: readiness(client)["status"] == "ok")
    for again in session(replica):
        catch_up(on_primary, again)
        rows(again, "SELECT pg_wal_replay_pause()")
        post(client, timestamp=ago(minutes=4))

        assert readings(client) == 2

        rows(again, "SELECT pg_wal_replay_resume()")


def test_a_replica_that_was_away_at_the_start_is_found_later(
    config: Config, replica: NativeReplica, on_replica: Connection
) -> None:
    on_replica.close()
    replica.kill9()
    app = create_app(config)
    client = app.test_client()

    assert client.get(SUMMARY).status_code == 404
    assert readiness(client) == {"status": "away", "lagSeconds": None}

    replica.restart()
    wait_until(lambda: readiness(client)["status"] == "ok")
    app.extensions["fleetwatt"].close()


@pytest.fixture
def slow_on_the_replica(on_primary: Connection, on_replica: Connection) -> Iterator[None]:
    """A summary that takes its time there: the query of a large fleet."""
    [(arguments, result)] = rows(
        on_primary,
        "SELECT pg_get_function_arguments(oid), pg_get_function_result(oid)"
        " FROM pg_proc WHERE proname = 'vehicle_summary'",
    )
    with on_primary.cursor() as cursor:
        cursor.execute("ALTER FUNCTION vehicle_summary RENAME TO proper_summary")
        cursor.execute(
            f"""
            CREATE FUNCTION vehicle_summary({arguments}) RETURNS {result}
            LANGUAGE plpgsql AS $$
            BEGIN
                IF pg_is_in_recovery() THEN
                    PERFORM FROM vehicles_latest;
                    PERFORM pg_sleep(120);
                END IF;
                RETURN QUERY SELECT * FROM proper_summary($1, $2, $3, $4, $5);
            END
            $$
            """
        )
        catch_up(on_primary, on_replica)
        yield
        cursor.execute("DROP FUNCTION vehicle_summary")
        cursor.execute("ALTER FUNCTION proper_summary RENAME TO vehicle_summary")


@pytest.mark.usefixtures("one_replayed", "slow_on_the_replica")
def test_the_primary_answers_what_the_replica_cancels_for_a_recovery_conflict(
    client: FlaskClient,
    replica: NativeReplica,
    on_primary: Connection,
    on_replica: Connection,
) -> None:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(readings, client)
        wait_until(lambda: rows(on_replica, asked) == [(1,)])

        # The query reads the table, so that this can't be replayed while it runs.
        with on_primary.cursor() as cursor:
            cursor.execute("BEGIN; LOCK vehicles_latest IN ACCESS EXCLUSIVE MODE; COMMIT")

        assert answer.result(60) == 1

    assert "canceling statement due to conflict with recovery" in replica.log.read_text()
    assert readiness(client)["status"] == "ok"


@pytest.mark.usefixtures("one_replayed")
def test_a_replica_that_is_behind_a_migration_is_not_asked_until_it_has_caught_up(
    config: Config, on_primary: Connection, on_replica: Connection
) -> None:
    record = "SELECT checksum FROM fleetwatt_schema WHERE file = 'repeatable/meter_status.sql'"
    [(checksum,)] = rows(on_primary, record)
    with on_primary.cursor() as cursor:
        cursor.execute("DELETE FROM fleetwatt_schema WHERE file = 'repeatable/meter_status.sql'")
        catch_up(on_primary, on_replica)
        rows(on_replica, "SELECT pg_wal_replay_pause()")
        cursor.execute(
            "INSERT INTO fleetwatt_schema VALUES ('repeatable/meter_status.sql', %s)", (checksum,)
        )
    app = create_app(config)
    client = app.test_client()
    post(client, timestamp=ago(minutes=5))

    for _ in range(5):
        assert readings(client) == 2
        assert readiness(client) == {"status": "away", "lagSeconds": None}
        time.sleep(0.2)

    rows(on_replica, "SELECT pg_wal_replay_resume()")
    wait_until(lambda: readiness(client)["status"] == "ok")
    app.extensions["fleetwatt"].close()


@pytest.mark.usefixtures("one_replayed")
def test_a_query_that_the_replica_can_not_plan_yet_is_answered_by_the_primary(
    client: FlaskClient, on_primary: Connection, on_replica: Connection
) -> None:
    with on_primary.cursor() as cursor:
        cursor.execute("ALTER FUNCTION vehicle_summary RENAME TO summary_of_old")
        catch_up(on_primary, on_replica)
        rows(on_replica, "SELECT pg_wal_replay_pause()")
        cursor.execute("ALTER FUNCTION summary_of_old RENAME TO vehicle_summary")

    assert readings(client) == 1

    rows(on_replica, "SELECT pg_wal_replay_resume()")


def test_a_server_that_is_no_replica_is_not_taken_for_one(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Config(database_url=config.database_url, replica_url=config.database_url))
    client = app.test_client()

    client.get(SUMMARY)
    wait_until(lambda: "is not a replica" in caplog.text)

    assert readiness(client) == {"status": "away", "lagSeconds": None}
    app.extensions["fleetwatt"].close()


def test_a_replica_that_was_promoted_is_away(primary: NativeServer, config: Config) -> None:
    with NativeReplica(primary) as another:
        app = create_app(replace(config, replica_url=another.url))
        client = app.test_client()
        wait_until(lambda: readiness(client)["status"] == "ok")

        for promoted in session(another):
            rows(promoted, "SELECT pg_promote()")

        assert readiness(client) == {"status": "away", "lagSeconds": None}
        app.extensions["fleetwatt"].close()


def test_nobody_waits_for_a_replica_that_does_not_answer(config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        mute = Config(database_url=config.database_url, replica_url=url, connect_timeout=60)
        with closing(Database(mute)) as database:
            row = database.query_one(
                "vehicle_summary",
                vehicle_id="V-1",
                start=ago(hours=1),
                end=ago(),
                closed=True,
                max_kw=1000.0,
            )

            assert row
            assert row["readings"] == 0
            assert "replica" in [thread.name for thread in threading.enumerate()]


@pytest.mark.usefixtures("one_replayed", "slow_on_the_replica")
def test_a_replica_whose_connections_are_taken_is_busy_and_not_away(
    config: Config, on_replica: Connection
) -> None:
    app = create_app(replace(config, pool_size=1, pool_timeout=0.2, statement_timeout=20))
    client = app.test_client()
    wait_until(lambda: readiness(client)["status"] == "ok")
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.get, SUMMARY)
        wait_until(lambda: rows(on_replica, asked) == [(1,)])

        refused = app.test_client().get(SUMMARY)

        assert refused.status_code == 503
        assert refused.json
        assert "no database connection came free" in refused.json["detail"]
        slow.result(60)
    assert readiness(client)["status"] == "ok"
    app.extensions["fleetwatt"].close()
