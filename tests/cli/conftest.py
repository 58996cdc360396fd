"""Commands on the database under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from psycopg2.extensions import connection as Connection

from fleetwatt.cli import fleetwatt
from fleetwatt.database.schema import editions
from tests.conftest import rows

Command = Callable[..., Result]
SCHEDULER = "SELECT current_setting('timescaledb.max_background_workers', true) IS NOT NULL"


@pytest.fixture
def command(database_url: str) -> Command:
    """Run `fleetwatt` with arguments, and with bytes on its standard input."""

    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        environment = {"FLEETWATT_DATABASE_URL": database_url}
        return CliRunner().invoke(fleetwatt, arguments, env=environment, input=stdin)

    return run


@pytest.fixture
def embedded(sql: Connection) -> Iterator[None]:
    """A database with jobs and no scheduler; the jobs' statistics are as they were afterwards."""
    if editions.edition(sql) == "apache" or rows(sql, SCHEDULER) == [(True,)]:
        pytest.skip("a scheduler runs the jobs here, or there are none")
    yield
    with sql.cursor() as cursor:
        cursor.execute("DELETE FROM _timescaledb_internal.bgw_job_stat")


def plan(connection: Connection, due_in: timedelta, job: str = "%") -> None:
    """Set when jobs are due next."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT alter_job(job_id, next_start => now() + %s)"
            " FROM timescaledb_information.jobs WHERE concat_ws(' on ', proc_name, hypertable_name)"
            " LIKE %s",
            (due_in, job),
        )
        assert cursor.rowcount > 0
