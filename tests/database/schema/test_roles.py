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
from fleetwatt.streams import STREAMS
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


def test_doctor_names_a_role_that_may_add_jobs_and_its_advice_mends_it(
    own_url: str, superuser: Connection
) -> None:
    def found() -> list[dict[str, str]]:
        findings = json.loads(run(own_url, "doctor", "--json").stdout)
        return [finding for finding in findings if "add jobs" in finding["says"]]

    assert found() == []
    ((adding,),) = rows(
        superuser, "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'add_job'"
    )
    superuser.cursor().execute(f"GRANT EXECUTE ON FUNCTION {adding} TO fleetwatt_dashboard")
    (finding,) = found()
    superuser.cursor().execute(f"REVOKE EXECUTE ON FUNCTION {adding} FROM fleetwatt_dashboard")
    superuser.cursor().execute(f"GRANT EXECUTE ON FUNCTION {adding} TO PUBLIC")
    (public,) = found()
    run(own_url, *public["advice"].split("`")[1].split()[1:])

    assert (finding["check"], finding["level"]) == ("jobs", "warning")
    assert finding["says"].startswith("fleetwatt_dashboard may add jobs")
    assert public["says"].startswith("fleetwatt_app, fleetwatt_dashboard may add jobs")
    assert found() == []


RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
KEPT = {"vehicle_meter_mapping", "devices", "sites"}  # what the service changes as it is asked to


def allowed(role: str, relation: str, kind: str) -> set[str]:
    """Say what a role may do with a relation: all that is not said here, it may not."""
    if role == "fleetwatt_dashboard":
        return {"SELECT"} if kind == "v" or relation in KEPT else set()
    rights = {"SELECT"}
    if relation in KEPT:
        rights |= {"INSERT", "UPDATE", "DELETE"}
    if relation in {stream.history for stream in STREAMS}:
        rights |= {"INSERT"}
    if relation in {stream.latest for stream in STREAMS}:
        rights |= {"INSERT", "UPDATE"}
    return rights


@pytest.mark.parametrize("role", ["fleetwatt_app", "fleetwatt_dashboard"])
def test_a_role_has_the_rights_that_its_table_says_on_each_relation_and_no_other(
    superuser: Connection, role: str
) -> None:
    held = rows(
        superuser,
        """
        SELECT relname::text, relkind::text, array_agg(held) FILTER (
            WHERE has_table_privilege(%(role)s, pg_class.oid, held)
        )
        FROM pg_class CROSS JOIN unnest(%(rights)s::text[]) AS held
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        GROUP BY 1, 2
        """,
        role=role,
        rights=list(RIGHTS),
    )

    assert {"api_keys", "mapping_changes", "retention"} <= {relation for relation, *_ in held}
    wrong = {
        relation: set(rights or ()) ^ allowed(role, relation, kind)
        for relation, kind, rights in held
        if set(rights or ()) != allowed(role, relation, kind)
    }
    assert wrong == {}


def test_a_dashboard_calls_two_functions_alone_that_work_with_the_owner_s_rights(
    superuser: Connection,
) -> None:
    callers = rows(
        superuser,
        """
        SELECT proname::text, has_function_privilege('fleetwatt_app', oid, 'EXECUTE'),
            has_function_privilege('fleetwatt_dashboard', oid, 'EXECUTE')
        FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND prosecdef
          AND prorettype <> 'trigger'::regtype
        """,
    )

    assert "replace_meter" in {name for name, *_ in callers}
    assert {name for name, _, dashboard in callers if dashboard} == {
        # They read, and their path is fixed; db/repeatable/dashboards.sql bounds their windows.
        "dashboard_energy",
        "dashboard_sessions",
    }
    assert {name for name, app, dashboard in callers if not app and not dashboard} == set()


def take_over(superuser: Connection) -> None:
    """Make the job the superuser's, as an upgrade before there were roles left it."""
    superuser.cursor().execute(
        "SELECT add_job('retention_guard', schedule_interval, config => config)"
        " FROM (SELECT delete_job(job_id), schedule_interval, config"
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'retention_guard') AS deleted"
    )
