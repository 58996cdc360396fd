"""What the tests of storage and its policies share: history of many days, and policies put back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from click.testing import CliRunner, Result
from psycopg2.extensions import connection as Connection

from fleetwatt.cli import fleetwatt
from fleetwatt.database.schema import editions
from fleetwatt.streams import STREAMS
from tests.conftest import refresh, rows, truncate

DAY = timedelta(days=1)


def today() -> datetime:
    """Return when the present UTC day began: a run of the tests may pass midnight."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def run(url: str, *arguments: str, answer: str | None = None) -> Result:
    """Run the command `fleetwatt` on a database."""
    environment = {"FLEETWATT_DATABASE_URL": url}
    return CliRunner().invoke(fleetwatt, arguments, env=environment, input=answer)


def do(connection: Connection, statement: str, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def load(connection: Connection, days: int) -> None:
    """Store a reading of M-1 and one of V-1 each half hour of the last days; 0.5 kWh a step."""
    times = (
        "SELECT time, row_number() OVER (ORDER BY time) * 0.5 AS kwh"
        " FROM generate_series(%(start)s::timestamptz, %(end)s, INTERVAL '30 minutes') AS time"
    )
    # Tests count its days: none begins so late that another day comes meanwhile.
    left = (today() + DAY - datetime.now(UTC)).total_seconds()
    if left < 120:
        time.sleep(left)
    span = {"start": today() - days * DAY, "end": datetime.now(UTC)}
    for table, columns in (
        ("meter_telemetry", "'M-1', time, kwh, 230"),
        ("vehicle_telemetry", "'V-1', time, 50, kwh, 20"),
    ):
        do(connection, f"INSERT INTO {table} SELECT {columns} FROM ({times}) AS reading", **span)
    do(
        connection,
        "INSERT INTO meters_latest SELECT * FROM meter_telemetry ORDER BY time DESC LIMIT 1",
    )
    do(
        connection,
        "INSERT INTO vehicles_latest SELECT * FROM vehicle_telemetry ORDER BY time DESC LIMIT 1",
    )


def run_guard(connection: Connection) -> None:
    """Run the job that drops raw readings, as TimescaleDB's scheduler does."""
    run_jobs(connection, "proc_name = 'retention_guard'")


def run_refreshes(connection: Connection) -> None:
    run_jobs(connection, "proc_name = 'policy_refresh_continuous_aggregate'")


def run_jobs(connection: Connection, condition: str) -> None:
    found = rows(connection, f"SELECT job_id FROM timescaledb_information.jobs WHERE {condition}")
    assert found
    for (job,) in found:
        do(connection, f"CALL run_job({job})")


@contextmanager
def put_back_after(url: str) -> Iterator[None]:
    """After the block, put a database's policies back and delete its data."""
    yield
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        put_back(connection)


def put_back(connection: Connection) -> None:
    """Leave no data and the default policies."""
    for stream in STREAMS:
        truncate(connection, stream.history, stream.latest)
        do(connection, f"SELECT set_chunk_time_interval('{stream.history}', INTERVAL '1 day')")
    if editions.edition(connection) == "apache":
        do(connection, "DELETE FROM fleetwatt_retention")
        return
    # The aggregates follow: nothing of raw is left.
    refresh(connection)
    for stream in STREAMS:
        do(connection, f"SELECT set_retention('{stream.history}', '1095 days', '1094 days')")
        do(connection, f"SELECT set_retention('{stream.hourly}', '3650 days', NULL)")
        do(connection, f"SELECT set_compression('{stream.history}', '7 days')")
