from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from tests.native.binaries import NativeServerError
from tests.native.server import NativeServer, alive
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.environ.get("FLEETWATT_NATIVE") != "1", reason="needs FLEETWATT_NATIVE=1"
)

FAST = {"shared_buffers": "32MB"}


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    with NativeServer(FAST) as server:
        execute(server.url, "CREATE EXTENSION timescaledb")
        yield server


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_a_hypertable_answers_time_bucket_first_and_last(server: NativeServer) -> None:
    rows = execute(
        server.url,
        "CREATE TABLE reading (time timestamptz NOT NULL, kwh float8)",
        "SELECT create_hypertable('reading', by_range('time', INTERVAL '1 day'))",
        "INSERT INTO reading SELECT '2025-01-01Z'::timestamptz + n * INTERVAL '1 minute', n"
        " FROM generate_series(0, 2879) n",
        "SELECT first(kwh, time), last(kwh, time) FROM reading"
        " GROUP BY time_bucket('1 day', time) ORDER BY 1",
    )

    assert rows == [(0, 1439), (1440, 2879)]


def test_a_setting_overrides_the_default(server: NativeServer) -> None:
    assert execute(server.url, "SHOW shared_buffers") == [("32MB",)]
    assert execute(server.url, "SHOW fsync") == [("on",)]


def test_a_wrong_password_is_refused(server: NativeServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.url.replace("postgres:", "postgres:x"))


def test_restart_keeps_data(server: NativeServer) -> None:
    execute(server.url, "CREATE TABLE kept AS SELECT 1")

    server.restart()

    assert execute(server.url, "SELECT * FROM kept") == [(1,)]


def test_kill9_ends_every_process_and_restart_recovers_what_was_committed(
    server: NativeServer,
) -> None:
    execute(server.url, "CREATE TABLE committed AS SELECT 1")
    client = psycopg2.connect(server.url)
    processes = server.processes()

    server.kill9()

    assert not alive(processes)
    with pytest.raises(psycopg2.OperationalError):
        client.cursor().execute("SELECT 1")

    server.restart()

    assert execute(server.url, "SELECT * FROM committed") == [(1,)]
    assert "database system was not properly shut down" in server.log.read_text()


def test_stop_leaves_neither_process_nor_folder() -> None:
    with NativeServer(FAST) as server:
        client = psycopg2.connect(server.url)
        processes = server.processes()
        assert len(processes) > 4

    client.close()
    assert not alive(processes)
    assert not server.folder.exists()


def test_stop_is_harmless_after_kill9_and_a_second_time() -> None:
    with NativeServer(FAST) as server:
        server.kill9()
        server.stop()

    assert not server.folder.exists()


def test_a_server_that_does_not_start_shows_its_log_and_leaves_nothing() -> None:
    server = NativeServer({"shared_preload_libraries": "no_such_library"})

    with pytest.raises(NativeServerError, match="no_such_library"):
        server.start()

    assert not server.folder.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_its_parent(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.native.server", "run", "-c", "shared_buffers=32MB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        [(folder, data)] = execute(
            url,
            "SELECT current_setting('unix_socket_directories'), current_setting('data_directory')",
        )
        postmaster = int((Path(data) / "postmaster.pid").read_text().split()[0])

        parent.send_signal(how)

    eventually(lambda: not alive([postmaster]), "PostgreSQL goes on")
    eventually(lambda: not Path(folder).exists(), "its folder stays")
