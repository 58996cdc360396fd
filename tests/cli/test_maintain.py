"""`fleetwatt maintain` does what nothing else does on a database, and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from fleetwatt.database import queries
from fleetwatt.database.pool import fetch
from fleetwatt.database.schema import editions
from tests.cli.conftest import SCHEDULER, Command, plan
from tests.conftest import rows
from tests.examples import NOW, ago, meter
from tests.storage import DAY, today
from tests.waiting import eventually

HOUR = timedelta(hours=1)
FAILED = """
    SELECT proc_name FROM timescaledb_information.jobs
    JOIN timescaledb_information.job_stats USING (job_id)
    WHERE last_run_status = 'Failed'
"""
REFRESH = "policy_refresh_continuous_aggregate on meter_hourly"


@pytest.fixture
def apache(sql: Connection) -> Iterator[None]:
    """An Apache edition that keeps no history longer than 30 days."""
    if editions.edition(sql) != "apache":
        pytest.skip("the Community edition has policies")
    with sql.cursor() as cursor:
        cursor.execute("SELECT set_retention('meter_telemetry', INTERVAL '30 days', NULL)")
    yield
    with sql.cursor() as cursor:
        cursor.execute("SELECT set_retention('meter_telemetry', NULL, NULL)")


@pytest.fixture
def scheduler(sql: Connection) -> None:
    """A database whose jobs TimescaleDB runs."""
    if editions.edition(sql) == "apache" or rows(sql, SCHEDULER) == [(False,)]:
        pytest.skip("no scheduler runs jobs here")


def next_starts(connection: Connection) -> dict[str, Any]:
    """When each job is due next, by what it does."""
    return dict(
        rows(
            connection,
            "SELECT concat_ws(' on ', proc_name, hypertable_name), next_start"
            " FROM timescaledb_information.jobs WHERE scheduled",
        )
    )


def materialized(connection: Connection, meter_id: str) -> int:
    """How many hours of a meter are materialized."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', materialization_hypertable_schema,"
            " materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'meter_hourly'"
        )
        ((table,),) = cursor.fetchall()
    ((count,),) = rows(
        connection, f"SELECT count(*) FROM {table} WHERE meter_id = %(id)s", id=meter_id
    )
    return int(count)


@pytest.fixture
def old_meter(client: FlaskClient, request: pytest.FixtureRequest) -> str:
    """A meter of this test alone, with a reading of two days ago that is not materialized."""
    meter_id: str = request.node.name[:64]
    reading = meter(meterId=meter_id, timestamp=ago(days=2))
    assert client.post("/v1/ingestion/meter", json=reading).status_code == 201
    return meter_id


@pytest.mark.usefixtures("embedded")
def test_a_due_refresh_runs_and_the_aggregate_is_materialized(
    command: Command, sql: Connection, old_meter: str
) -> None:
    plan(sql, HOUR)
    plan(sql, -HOUR, REFRESH)
    before = materialized(sql, old_meter)

    result = command("maintain")

    assert result.exit_code == 0
    assert f"({REFRESH})" in result.stdout
    assert result.stdout.count("ran job") == 1
    assert (before, materialized(sql, old_meter)) == (0, 1)


@pytest.mark.usefixtures("embedded")
def test_what_is_not_due_does_not_run(command: Command, sql: Connection, old_meter: str) -> None:
    plan(sql, HOUR)

    result = command("maintain")

    assert result.exit_code == 0
    assert "0 are due" in result.stdout
    assert result.stdout.endswith("Nothing was to be done.\n")
    assert materialized(sql, old_meter) == 0


@pytest.mark.usefixtures("embedded")
def test_jobs_that_never_ran_are_due_and_then_wait_for_their_interval(
    command: Command, sql: Connection
) -> None:
    first, second = command("maintain"), command("maintain")

    scheduled = next_starts(sql)
    assert first.stdout.count("ran job") == len(scheduled)
    assert "ran job" not in second.stdout
    assert timedelta(minutes=20) < scheduled[REFRESH] - NOW
    assert all(time > NOW for time in scheduled.values())


@pytest.mark.usefixtures("embedded")
def test_refreshes_run_first_and_what_drops_history_last(command: Command) -> None:
    said = command("maintain").stdout.splitlines()
    names = [line.split("(")[1] for line in said if line.startswith("ran job")]

    kinds = [
        "refresh" if "refresh" in name else "retention" if "retention" in name else "other"
        for name in names
    ]
    assert kinds == sorted(kinds, key=["refresh", "other", "retention"].index)
    assert set(kinds) == {"refresh", "other", "retention"}


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("code", ["raise_exception", "query_canceled", "disk_full"])
def test_a_job_that_fails_is_said_costs_no_other_and_is_tried_again_later(
    command: Command, sql: Connection, code: str
) -> None:
    with sql.cursor() as cursor:
        cursor.execute(
            "CREATE PROCEDURE failing(job_id integer, config jsonb) LANGUAGE plpgsql"
            f" AS $$ BEGIN RAISE 'it broke' USING ERRCODE = '{code}'; END $$"
        )
        cursor.execute("SELECT add_job('failing', INTERVAL '1 day')")
    try:
        result = command("maintain")

        assert result.exit_code == 1
        assert "(failing) failed: it broke" in result.stderr
        assert "ran job" in result.stdout
        assert next_starts(sql)["failing"] > NOW
    finally:
        with sql.cursor() as cursor:
            cursor.execute(
                "SELECT delete_job(job_id) FROM timescaledb_information.jobs"
                " WHERE proc_name = 'failing'"
            )
            cursor.execute("DROP PROCEDURE failing")


@pytest.mark.usefixtures("apache")
def test_exactly_the_chunks_past_retention_are_dropped(command: Command, sql: Connection) -> None:
    # The chunk that the bound cuts is kept whole: what is still accepted may lie in it.
    bound, now = today() - 30 * DAY, datetime.now(UTC)
    with sql.cursor() as cursor:
        for time in (bound - 5 * DAY, bound - timedelta(seconds=1), bound, now):
            cursor.execute("INSERT INTO meter_telemetry VALUES ('M-1', %s, 1, 230)", (time,))

    first, second = command("maintain"), command("maintain")

    assert first.exit_code == 0
    assert "dropped 2 chunks of meter_telemetry older than 30d" in first.stdout
    assert "meter_telemetry (30d)" in second.stdout
    assert second.stdout.endswith("Nothing was to be done.\n")
    assert rows(sql, "SELECT time FROM meter_telemetry ORDER BY 1") == [(bound,), (now,)]


@pytest.mark.usefixtures("scheduler")
def test_where_timescaledbs_scheduler_does_the_work_nothing_is_done(
    command: Command, sql: Connection
) -> None:
    if rows(sql, FAILED):
        pytest.skip("jobs fail in this server's background workers")

    result = command("maintain")

    assert result.exit_code == 0
    assert "the last run of 0 failed" in result.stdout
    assert "ran job" not in result.stdout
    assert result.stdout.endswith("TimescaleDB's own scheduler does the rest here.\n")


@pytest.mark.usefixtures("scheduler")
def test_a_job_that_fails_in_a_background_worker_is_run_in_a_session(
    command: Command, sql: Connection
) -> None:
    with sql.cursor() as cursor:
        cursor.execute("CREATE TABLE ran (time timestamptz)")
        cursor.execute(
            "CREATE PROCEDURE only_in_sessions(job_id integer, config jsonb) LANGUAGE plpgsql AS $$"
            " BEGIN IF 'client backend' <> (SELECT backend_type FROM pg_stat_activity"
            " WHERE pid = pg_backend_pid()) THEN RAISE 'not here'; END IF;"
            " INSERT INTO ran VALUES (now()); END $$"
        )
        cursor.execute("SELECT add_job('only_in_sessions', INTERVAL '1 day')")
    try:
        eventually(lambda: ("only_in_sessions",) in rows(sql, FAILED), "the job doesn't fail")

        result = command("maintain")

        assert "(only_in_sessions)" in result.stdout
        assert result.exit_code == 0
        assert rows(sql, "SELECT count(*) FROM ran") == [(1,)]
        assert next_starts(sql)["only_in_sessions"] > NOW + timedelta(hours=23)
    finally:
        with sql.cursor() as cursor:
            cursor.execute(
                "SELECT delete_job(job_id) FROM timescaledb_information.jobs"
                " WHERE proc_name = 'only_in_sessions'"
            )
            cursor.execute("DROP PROCEDURE only_in_sessions; DROP TABLE ran")


@pytest.mark.community
def test_a_job_is_for_its_owner_to_run_and_for_who_is_like_it(sql: Connection) -> None:
    due = queries.load()["due_jobs"]
    with sql.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            plan(sql, -timedelta(minutes=1))
            assert {job["is_ours"] for job in fetch(sql, due, {})} == {True}
            cursor.execute("CREATE ROLE stranger; SET LOCAL ROLE stranger")
            assert {job["is_ours"] for job in fetch(sql, due, {})} == {False}
        finally:
            cursor.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("every", "said"),
    [("5", "'5' is not a duration"), ("five", "'five' is not a duration"), ("0m", "from 1s")],
)
def test_an_interval_that_is_none_is_named(command: Command, every: str, said: str) -> None:
    result = command("maintain", "--every", every)

    assert result.exit_code == 2
    assert "'--every'" in result.stderr
    assert said in result.stderr


@pytest.mark.usefixtures("scheduler")
def test_where_the_scheduler_does_the_work_one_that_runs_again_and_again_goes_on(
    database_url: str, sql: Connection
) -> None:
    if rows(sql, FAILED):
        pytest.skip("jobs fail in this server's background workers")
    with subprocess.Popen(
        [sys.executable, "-m", "fleetwatt", "maintain", "--every", "1s"],
        env=os.environ | {"FLEETWATT_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == "TimescaleDB's own scheduler does the rest here.\n"
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(3)
        running.terminate()
        # Said once.
        assert running.stdout.read() == ""


def test_one_that_runs_again_and_again_ends_at_ctrl_c_with_the_status_of_a_shell() -> None:
    away = {"FLEETWATT_DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    with subprocess.Popen(
        [sys.executable, "-m", "fleetwatt", "maintain", "--every", "5m"],
        env=os.environ | away,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr
        assert running.stderr.readline().startswith("fleetwatt: ")
        running.send_signal(signal.SIGINT)

        assert running.wait() == 128 + signal.SIGINT
        assert "Traceback" not in running.stderr.read()
