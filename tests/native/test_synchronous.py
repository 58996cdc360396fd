"""What an acknowledgement is worth where commits wait for a standby, and that one is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
from flask import Flask
from psycopg2.extensions import connection as Connection
from werkzeug.test import TestResponse

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from tests.conftest import empty, rows
from tests.examples import ago, meter
from tests.native.faults import prepare
from tests.native.replica import NativeReplica
from tests.native.server import NativeServer
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.environ.get("FLEETWATT_NATIVE") != "1", reason="needs FLEETWATT_NATIVE=1"
)
STANDBY = "standby"
# A session that was ended leaves the service to retry, which then waits as it should.
STATUS_AFTER = {"pg_cancel_backend": 503, "pg_terminate_backend": 200}
STORED = "SELECT count(*) FROM meter_telemetry"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' ORDER BY backend_start"


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    with NativeServer({"shared_buffers": "64MB"}) as server:
        prepare(server)
        yield server


@pytest.fixture
def admin(server: NativeServer) -> Iterator[Connection]:
    """A session that waits for no standby, on a server whose other sessions wait for one."""
    with closing(connect(Config(database_url=server.url))) as admin:
        rows(admin, "SELECT set_config('synchronous_commit', 'local', false)")
        empty(admin)
        set_standby(admin, STANDBY)
        yield admin
        set_standby(admin, "")
        eventually(lambda: not rows(admin, WAITING), "commits wait on")


@pytest.fixture
def app(server: NativeServer, admin: Connection) -> Iterator[Flask]:  # noqa: ARG001 - comes first
    yield from serving(server.url)


def serving(url: str, **settings: Any) -> Iterator[Flask]:
    app = create_app(Config(database_url=url, **settings))
    yield app
    app.extensions["fleetwatt"].close()


def set_standby(admin: Connection, name: str) -> None:
    with admin.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET synchronous_standby_names = %s", (name,))
        cursor.execute("SELECT pg_reload_conf()")
    eventually(lambda: rows(admin, "SHOW synchronous_standby_names") == [(name,)], "it is not set")


@contextmanager
def posting(app: Flask, reading: dict[str, Any]) -> Iterator[Future[TestResponse]]:
    """Post a reading all the while."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(app.test_client().post, "/v1/ingestion", json=reading)


def waiting(admin: Connection) -> list[int]:
    """The process ids of those whose commit waits for the standby, once there are any."""
    eventually(lambda: bool(rows(admin, WAITING)), "no commit waits")
    return [pid for (pid,) in rows(admin, WAITING)]


def test_a_reading_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged(
    app: Flask, admin: Connection
) -> None:
    with posting(app, meter()) as answer:
        for pid in waiting(admin):
            rows(admin, "SELECT pg_cancel_backend(%(pid)s)", pid=pid)

        assert answer.result().status_code == 503

    assert answer.result().headers["Retry-After"]
    # PostgreSQL has called that a success: it is there, and a failover would lose it.
    assert rows(admin, STORED) == [(1,)]


@pytest.mark.parametrize("function", STATUS_AFTER)
def test_a_retry_is_acknowledged_as_a_duplicate_only_once_the_standby_has_it(
    server: NativeServer, app: Flask, admin: Connection, function: str
) -> None:
    with posting(app, meter()) as first:
        for pid in waiting(admin):
            rows(admin, f"SELECT {function}(%(pid)s)", pid=pid)

        # It writes nothing new, and waits all the same.
        with posting(app, meter()) as retried:
            waiting(admin)
            assert not retried.done()

            with NativeReplica(server) as replica:
                follow_as(replica, STANDBY)
                answer = retried.result()

                assert answer.status_code == 200
                assert answer.json
                assert answer.json["duplicates"] == 1
                with closing(connect(Config(database_url=replica.url))) as there:
                    eventually(lambda: rows(there, STORED) == [(1,)], "the standby lacks it")

    assert first.result().status_code == STATUS_AFTER[function]


def follow_as(replica: NativeReplica, name: str) -> None:
    """Let a replica stream under the name that commits wait for."""
    with closing(connect(Config(database_url=replica.url))) as there, there.cursor() as cursor:
        [(conninfo,)] = rows(there, "SHOW primary_conninfo")
        cursor.execute(
            "ALTER SYSTEM SET primary_conninfo = %s", (f"{conninfo} application_name={name}",)
        )
        cursor.execute("SELECT pg_reload_conf()")


def test_a_write_is_never_cancelled_for_the_time_that_its_commit_waits(
    server: NativeServer, admin: Connection
) -> None:
    for app in serving(server.url, statement_timeout=0.2, write_timeout=1.0):
        with posting(app, meter()) as answer:
            before = waiting(admin)

            assert answer.result().status_code == 503
            assert waiting(admin) == before

        set_standby(admin, "")
        retried = app.test_client().post("/v1/ingestion", json=meter())
        assert retried.status_code == 200


@pytest.mark.parametrize("messages", ["error", "notice"])
def test_the_warning_is_heard_whatever_a_database_is_set_to(
    server: NativeServer, admin: Connection, messages: str
) -> None:
    with admin.cursor() as cursor:
        cursor.execute("ALTER DATABASE postgres SET client_min_messages = %s", (messages,))
    try:
        for app in serving(server.url):
            with posting(app, meter(timestamp=ago(minutes=2))) as answer:
                for pid in waiting(admin):
                    rows(admin, "SELECT pg_cancel_backend(%(pid)s)", pid=pid)

                assert answer.result().status_code == 503
    finally:
        with admin.cursor() as cursor:
            cursor.execute("ALTER DATABASE postgres RESET client_min_messages")


def test_a_correction_whose_wait_is_cancelled_is_not_acknowledged(
    app: Flask, admin: Connection
) -> None:
    set_standby(admin, "")
    reading = meter(timestamp=ago(minutes=5))
    assert app.test_client().post("/v1/ingestion", json=reading).status_code == 201
    set_standby(admin, STANDBY)
    at = f"/v1/readings/meters/{reading['meterId']}/{reading['timestamp']}"
    body = {"kwhConsumedAc": 1.0, "voltage": 230.0, "reason": "a test"}

    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(app.test_client().put, at, json=body)
        for pid in waiting(admin):
            rows(admin, "SELECT pg_cancel_backend(%(pid)s)", pid=pid)

        assert answer.result().status_code == 503
