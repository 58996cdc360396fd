"""The database under test: embedded, native (FLEETWATT_NATIVE=1) or FLEETWATT_TEST_DATABASE_URL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from psycopg2.errors import DeadlockDetected
from psycopg2.extensions import connection as Connection

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import editions, migrations
from fleetwatt.embedded.database import EmbeddedDatabase
from fleetwatt.streams import STREAMS
from tests.native.server import NativeServer, free_port

# How long a machine takes says nothing about what the tests are about.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# No proxy knows this machine's own servers; an empty name among others counts as none.
os.environ["no_proxy"] = f"{urllib.request.getproxies().get('no', '')},127.0.0.1,localhost"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the random tests first: they take longest, and the last to run had better be short."""
    items.sort(key=lambda item: item.get_closest_marker("scaled") is None)


# What is neither a hypertable nor an aggregate.
PLAIN_TABLES = (
    *(stream.latest for stream in STREAMS),
    "vehicle_meter_mapping",
    "mapping_changes",
    "api_keys",
    "devices",
    "sites",
    "reading_corrections",
    "corrected_readings",
    "removed_readings",
)


@pytest.fixture(scope="session")
def database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database with an up-to-date schema, one for each process that runs tests."""
    if given := os.environ.get("FLEETWATT_TEST_DATABASE_URL"):
        _upgrade(given)
        yield given
        return
    if os.environ.get("FLEETWATT_NATIVE"):
        with NativeServer() as server:
            _upgrade(server.url)
            yield server.url
        return
    template: Path = request.getfixturevalue("embedded_template")
    with EmbeddedDatabase(copied(template, tmp_path_factory.mktemp("database"))) as database:
        yield database.url


@pytest.fixture(scope="session")
def embedded_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an embedded database with an up-to-date schema, to start copies of.

    The first process of a run that needs it makes it for all.
    """
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    folder = run / "embedded-template"
    with (run / "embedded-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            with EmbeddedDatabase(folder) as database:
                _upgrade(database.url)
            (folder / "complete").touch()
    return folder


def copied(template: Path, folder: Path) -> Path:
    """Give a folder the data of a template; a start on it takes a second instead of ten."""
    shutil.copytree(template / "pgdata", folder / "pgdata")
    return folder


def _upgrade(url: str) -> None:
    """Bring the schema up to date and let TimescaleDB's scheduler, if any, run its new jobs.

    What they refreshed between a test's readings would be answered as it was then: so they don't
    run again before the tests have ended.
    """
    with closing(connect(Config(database_url=url))) as connection:
        list(migrations.upgrade(connection))
        connection.autocommit = True
        jobs = """
            FROM timescaledb_information.jobs
            LEFT JOIN timescaledb_information.job_stats USING (job_id)
            WHERE scheduled AND job_id >= 1000
              AND current_setting('timescaledb.max_background_workers', true) IS NOT NULL
        """
        deadline = time.monotonic() + 300
        while rows(connection, f"SELECT {jobs} AND last_run_duration IS NULL"):
            if time.monotonic() > deadline:
                pytest.fail("TimescaleDB's scheduler does not run its jobs")
            time.sleep(0.1)
        rows(connection, f"SELECT alter_job(job_id, next_start => now() + INTERVAL '1 day') {jobs}")


@pytest.fixture
def config(database_url: str) -> Config:
    return Config(database_url=database_url, pool_size=2)


@pytest.fixture
def sql(database_url: str) -> Iterator[Connection]:
    """A connection of the test's own, in autocommit."""
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    """Let each test that uses the database find it empty."""
    if "database_url" not in request.fixturenames:
        return
    connection: Connection = request.getfixturevalue("sql")
    if request.node.get_closest_marker("community") and editions.edition(connection) == "apache":
        pytest.skip("the Apache edition has no policies")
    empty(connection)


# How far each database's transactions had come when it had been emptied.
_EMPTY_AT: dict[str, int] = {}


def empty(connection: Connection) -> None:
    """Delete all data; the aggregates are as if they had never been refreshed."""
    if _EMPTY_AT.get(connection.dsn) == last_transaction(connection):
        return
    # A look into a table is cheaper than truncating it.
    looks = (f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in PLAIN_TABLES)
    filled = [table for (table,) in rows(connection, " UNION ALL ".join(looks))]
    truncate(connection, *(stream.history for stream in STREAMS), *filled)
    if editions.edition(connection) != "apache":
        truncate(connection, *(name for stream in STREAMS for name in stream.aggregates))
    _EMPTY_AT[connection.dsn] = last_transaction(connection)


def last_transaction(connection: Connection) -> int:
    """Return a number that moves whenever a transaction ends that wrote anything."""
    [(number,)] = rows(connection, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    return int(number)


def truncate(connection: Connection, *tables: str) -> None:
    """Empty tables and those that refer to them.

    Where a scheduler runs, its jobs may be at them in another order.
    """
    statement = f"TRUNCATE {', '.join(tables)} CASCADE"
    with connection.cursor() as cursor:
        for _ in range(5):
            with contextlib.suppress(DeadlockDetected):
                return cursor.execute(statement)
        return cursor.execute(statement)


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    app = create_app(config)
    yield app
    app.extensions["fleetwatt"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def rows(connection: Connection, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return what a statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


@pytest.fixture(scope="session")
def server_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of gunicorn, serving the database under test with one process."""
    with serving(database_url, 1, tmp_path_factory.mktemp("gunicorn") / "log") as url:
        yield url


@contextlib.contextmanager
def serving(database_url: str, workers: int, log: Path, **settings: str) -> Iterator[str]:
    """Run gunicorn on a database, with more settings by their variables, and give its address."""
    with gunicorn(database_url, workers, log, **settings) as (url, _):
        yield url


@contextlib.contextmanager
def gunicorn(
    database_url: str, workers: int, log: Path, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run gunicorn on a database, and give its address and its master."""
    port = settings.get("FLEETWATT_PORT", str(free_port()))
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "FLEETWATT_DATABASE_URL": database_url,
        "FLEETWATT_PORT": port,
        "FLEETWATT_WORKERS": str(workers),
        "FLEETWATT_POOL_SIZE": "2",
        **settings,
    }
    with log.open("wb") as output:
        # As a command: a master that `python -m gunicorn` started can't start another.
        command = [str(Path(sys.executable).with_name("gunicorn")), "wsgi:app"]
        master = subprocess.Popen(command, env=environment, stderr=output)
    try:
        _await(url, master)
        yield url, master
    finally:
        master.terminate()
        master.wait(60)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/healthz", timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail("gunicorn did not start")


def refresh(connection: Connection, until: datetime | None = None) -> None:
    """Materialize the aggregates up to a time, or to now.

    On the Apache edition they are views, always fresh.
    """
    if editions.edition(connection) == "apache":
        return
    with connection.cursor() as cursor:
        for stream in STREAMS:
            for aggregate in stream.aggregates:
                cursor.execute(
                    f"CALL refresh_continuous_aggregate('{aggregate}', NULL, %s)",
                    (until or datetime.now(UTC),),
                )
