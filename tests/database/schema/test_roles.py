"""Whose a job is once there are roles, on the Community edition; for rights native/test_roles.py.

The embedded database lets in everybody as its superuser, and can grant nothing on a database: here
the owner needs no such right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from click.testing import CliRunner, Result
from psycopg2.extensions import connection as Connection

from fleetwatt.cli import fleetwatt
from fleetwatt.embedded.database import EmbeddedDatabase
from tests.conftest import rows

OWNER = """
    SELECT owner::text FROM timescaledb_information.jobs WHERE proc_name = 'retention_guard'
"""
GUARD = """
    SELECT schedule_interval::text, config, scheduled, retry_period::text, next_start
    FROM timescaledb_information.jobs WHERE proc_name = 'retention_guard'
"""


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of its own: roles are there for all tests of one."""
    with EmbeddedDatabase(tmp_path_factory.mktemp("roles")) as database:
        with closing(psycopg2.connect(database.url)) as connection:
            connection.cursor().execute("CREATE ROLE fleetwatt_owner LOGIN SUPERUSER")
            connection.commit()
        for command in ("upgrade", "roles"):
            assert run(database.url, "db", command).exit_code == 0
        yield database.url


@pytest.fixture
def superuser(own_url: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(own_url)) as connection:
        connection.autocommit = True
        yield connection


def run(url: str, *command: str) -> Result:
    return CliRunner().invoke(fleetwatt, command, env={"FLEETWATT_DATABASE_URL": url})


@pytest.mark.parametrize(
    "command", ["roles", "upgrade"], ids=["the schema came first", "the roles came first"]
)
def test_the_job_that_drops_raw_is_handed_over_with_all_that_was_set(
    own_url: str, superuser: Connection, command: str
) -> None:
    take_over(superuser)
    superuser.cursor().execute(
        "SELECT alter_job(job_id, retry_period => INTERVAL '7 minutes', scheduled => false,"
        " next_start => '2030-01-01') FROM timescaledb_information.jobs"
        " WHERE proc_name = 'retention_guard'"
    )
    before = rows(superuser, GUARD)

    assert run(own_url, "db", command).exit_code == 0

    assert rows(superuser, OWNER) == [("fleetwatt_owner",)]
    assert rows(superuser, GUARD) == before


def test_doctor_says_that_it_is_another_s_and_its_advice_mends_it(
    own_url: str, superuser: Connection
) -> None:
    def found() -> list[dict[str, str]]:
        findings = json.loads(run(own_url, "doctor", "--json").stdout)
        return [finding for finding in findings if "retention_guard" in finding["says"]]

    take_over(superuser)
    ((job,),) = rows(
        superuser,
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'retention_guard'",
    )
    (finding,) = found()
    run(own_url, *finding["advice"].split("`")[1].split()[1:])

    assert (finding["check"], finding["level"]) == ("jobs", "problem")
    assert finding["says"].startswith(
        f"job {job} (retention_guard) is postgres's, not fleetwatt_owner's"
    )
    assert found() == []


def take_over(superuser: Connection) -> None:
    """Make the job the superuser's, as an upgrade before there were roles left it."""
    superuser.cursor().execute(
        "SELECT add_job('retention_guard', schedule_interval, config => config)"
        " FROM (SELECT delete_job(job_id), schedule_interval, config"
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'retention_guard') AS deleted"
    )
