"""`fleetwatt doctor` finds what is not well, on a database that has it, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.database.pool import Row
from fleetwatt.database.schema import editions
from fleetwatt.lifecycle import data_checks, server_checks
from fleetwatt.lifecycle.findings import Finding
from fleetwatt.streams import STREAMS
from tests.cli.conftest import SCHEDULER, Command, plan
from tests.conftest import refresh, rows

Findings = list[dict[str, str]]
Examine = Callable[[], Findings]
PORTAL = 'cannot drop portal "" while it is being set up'
GIB = 1024**3
SERVER: dict[str, Any] = {
    "postgresql": "17.5",
    "timescaledb": "2.29.2",
    "offered": "2.29.2",
    "edition": "timescale",
    "restoring": "off",
    "has_scheduler": True,
    "scheduler_runs": True,
    "has_btree_gist": True,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "shared_buffers": {"number": 4 * GIB},
    "timescaledb.max_background_workers": {"number": 16},
    "max_worker_processes": {"number": 27},
    "max_parallel_workers": {"number": 8},
    "databases": {"number": 2},
    "fsync": {"setting": "on", "number": None},
    "full_page_writes": {"setting": "on", "number": None},
    "transaction_read_only": {"setting": "off", "number": None},
    "jit": {"setting": "off", "number": None},
    "timescaledb.telemetry_level": {"setting": "off", "number": None},
}


@pytest.fixture
def findings(command: Command) -> Examine:
    """What the command finds; its exit status is 1 where that has a problem, and 0 elsewhere."""

    def examine() -> Findings:
        result = command("doctor", "--json")
        found: Findings = json.loads(result.stdout)
        assert result.exit_code == int(any(finding["level"] == "problem" for finding in found))
        return found

    return examine


def worst(found: Findings, check: str) -> Findings:
    return [finding for finding in found if finding["check"] == check and finding["level"] != "ok"]


@contextmanager
def changed(connection: Connection, change: str, undo: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(change)
        try:
            yield
        finally:
            cursor.execute(undo)


def test_a_database_that_is_well_has_no_problem(findings: Examine, sql: Connection) -> None:
    refresh(sql)

    found = findings()

    # Jobs may fail on a server for reasons of its own.
    failing = {"jobs", "scheduler"}
    assert not [
        finding
        for finding in found
        if finding["level"] == "problem" and finding["check"] not in failing
    ]
    assert {"TimescaleDB", "edition", "btree_gist", "schema", "retention", "future"} <= {
        finding["check"] for finding in found
    }


def test_it_says_which_edition_this_is_and_what_it_lacks(command: Command, sql: Connection) -> None:
    said = command("doctor").stdout

    ((version,),) = rows(sql, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    assert f"TimescaleDB: {version} on PostgreSQL " in said
    edition = {"apache": "the Apache edition: no continuous aggregates", "timescale": "Community"}
    assert edition[editions.edition(sql)] in said


def test_every_finding_that_is_not_ok_says_what_to_do(
    findings: Examine,
) -> None:
    found = findings()

    assert all(bool(finding["advice"]) == (finding["level"] != "ok") for finding in found)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_chunks_in_the_future_are_a_problem(
    findings: Examine, sql: Connection, stream: Any
) -> None:
    values = ", ".join("1" for _ in stream.measures)
    with sql.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {stream.history} VALUES ('X-1', now() + INTERVAL '9 days', {values})"
        )

    found = findings()

    (finding,) = worst(found, "future")
    assert finding["level"] == "problem"
    day = datetime.now(UTC) + timedelta(days=9)
    assert f"{stream.history} has 1 chunks from {day:%Y-%m-%d}" in finding["says"]
    assert "drop_chunks" in finding["advice"]


UNCHANGE = (
    "UPDATE fleetwatt_schema SET checksum = kept.checksum FROM kept"
    " WHERE kept.file = fleetwatt_schema.file"
)


@pytest.mark.parametrize(
    ("change", "undo", "finding"),
    [
        (
            "DELETE FROM fleetwatt_schema WHERE file = 'repeatable/meter_status.sql'",
            "INSERT INTO fleetwatt_schema SELECT * FROM kept "
            "WHERE file = 'repeatable/meter_status.sql'",
            ("problem", "lacks repeatable/meter_status.sql"),
        ),
        (
            "UPDATE fleetwatt_schema SET checksum = '' WHERE file LIKE 'migrations/0001%'",
            UNCHANGE,
            ("problem", "migrations/0001_telemetry.sql was applied with another text"),
        ),
        (
            "UPDATE fleetwatt_schema SET checksum = '' WHERE file = 'repeatable/meter_status.sql'",
            UNCHANGE,
            ("warning", "repeatable/meter_status.sql has changed since"),
        ),
        (
            "INSERT INTO fleetwatt_schema VALUES ('migrations/9999_next.sql', '')",
            "DELETE FROM fleetwatt_schema WHERE file = 'migrations/9999_next.sql'",
            ("warning", "is ahead of this program: migrations/9999_next.sql"),
        ),
    ],
    ids=["missing", "a migration changed", "a view changed", "ahead"],
)
def test_a_schema_that_is_not_the_programs_is_found(
    findings: Examine,
    sql: Connection,
    change: str,
    undo: str,
    finding: tuple[str, str],
) -> None:
    keep = "DROP TABLE IF EXISTS kept; CREATE TEMP TABLE kept AS SELECT * FROM fleetwatt_schema;"
    with changed(sql, keep + change, f"{undo}; DROP TABLE kept"):
        found = findings()

    (schema,) = worst(found, "schema")
    assert (schema["level"], schema["says"]) == finding


@pytest.mark.usefixtures("embedded")
def test_a_job_that_failed_is_a_problem_and_one_that_is_overdue_a_warning(
    findings: Examine, sql: Connection
) -> None:
    ((job, overdue),) = rows(
        sql,
        "SELECT min(job_id), max(job_id) FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        " AND hypertable_name IN ('meter_hourly', 'vehicle_hourly')",
    )
    change = (
        f"SELECT alter_job({job}, next_start => now() + INTERVAL '1 hour');"
        f"SELECT alter_job({overdue}, next_start => now() - INTERVAL '9 hours');"
        "UPDATE _timescaledb_internal.bgw_job_stat SET last_run_success = false,"
        f" last_start = now() - INTERVAL '1 minute', last_finish = now() WHERE job_id = {job}"
    )
    with sql.cursor() as cursor:
        cursor.execute(change)

    found = findings()

    by_level = {finding["level"]: finding["says"] for finding in worst(found, "jobs")}
    assert (
        f"job {job} (policy_refresh_continuous_aggregate on meter_hourly) failed"
        in (by_level["problem"])
    )
    assert (
        f"job {overdue} (policy_refresh_continuous_aggregate on vehicle_hourly) was due at"
        in (by_level["warning"])
    )


@pytest.fixture
def idle_jobs(sql: Connection) -> Iterator[None]:
    """Jobs that wait for their time; where no scheduler runs them they never ran afterwards."""
    plan(sql, timedelta(days=1))
    yield
    if rows(sql, SCHEDULER) == [(False,)]:
        with sql.cursor() as cursor:
            cursor.execute("DELETE FROM _timescaledb_internal.bgw_job_stat")


@pytest.mark.community
@pytest.mark.usefixtures("idle_jobs")
def test_hours_that_await_a_refresh_for_long_are_a_warning(
    findings: Examine, sql: Connection
) -> None:
    refresh(sql)
    with sql.cursor() as cursor:
        cursor.execute(
            "INSERT INTO meter_telemetry SELECT 'M-2', now() - hour * INTERVAL '1 hour', 1, 230"
            " FROM generate_series(120, 192) AS hour"
        )

    found = findings()

    (finding,) = worst(found, "aggregates")
    assert finding["level"] == "warning"
    assert finding["says"].startswith("meter_hourly: 73 hours await a refresh, between ")


@pytest.mark.community
@pytest.mark.usefixtures("idle_jobs")
def test_stale_hours_that_no_policy_reaches_are_a_problem_and_its_advice_mends_it(
    findings: Examine, sql: Connection
) -> None:
    refresh(sql)
    ((job,),) = rows(
        sql,
        "SELECT job_id FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        " AND hypertable_name = 'meter_hourly'",
    )
    window = 'SELECT alter_job({}, config => config || \'{{"start_offset": "{}"}}\')'
    window += f" FROM timescaledb_information.jobs WHERE job_id = {job}"
    with changed(sql, window.format(job, "5 days"), window.format(job, "1094 days")):
        with sql.cursor() as cursor:
            cursor.execute(
                "INSERT INTO meter_telemetry VALUES ('M-1', now() - INTERVAL '9 days', 1, 230)"
            )
        found = findings()
        (finding,) = worst(found, "aggregates")
        with sql.cursor() as cursor:
            cursor.execute(finding["advice"].split("`")[1])
        after = findings()

    assert finding["level"] == "problem"
    assert "meter_hourly: 1 hour awaits a refresh, and no policy refreshes those" in finding["says"]
    assert not worst(after, "aggregates")


def test_history_beyond_retention_is_found(findings: Examine, sql: Connection) -> None:
    keep = "SELECT set_retention('meter_telemetry', INTERVAL '{} days', NULL)"
    undo = "SELECT set_retention('meter_telemetry', NULL, NULL)"
    if editions.edition(sql) != "apache":
        undo = keep.format(1095)
    with changed(sql, keep.format(30), undo):
        with sql.cursor() as cursor:
            cursor.execute(
                "INSERT INTO meter_telemetry VALUES ('M-1', now() - INTERVAL '40 days', 1, 230)"
            )
        found = findings()

    (finding,) = worst(found, "retention")
    assert finding["says"].startswith("meter_telemetry has 1 chunks, up to ")


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("shared_buffers", {"number": GIB // 8}, "a quarter of the machine's memory"),
        ("timescaledb.max_background_workers", {"number": 3}, "set it to 4 at least"),
        ("max_worker_processes", {"number": 26}, "set it to 27 at least"),
        ("fsync", {"setting": "off", "number": None}, "set it to on"),
        ("full_page_writes", {"setting": "off", "number": None}, "set it to on"),
        ("transaction_read_only", {"setting": "on", "number": None}, "no reading can be stored"),
        ("jit", {"setting": "on", "number": None}, "set it to off"),
        ("timescaledb.telemetry_level", {"setting": "basic", "number": None}, "set it to off"),
    ],
)
def test_a_setting_that_is_not_well_is_a_warning(
    setting: str, value: dict[str, Any], advice: str
) -> None:
    assert {finding.level for finding in server_checks.of_settings(SETTINGS, SERVER)} == {"ok"}

    found = server_checks.of_settings(SETTINGS | {setting: value}, SERVER)

    (finding,) = (finding for finding in found if finding.level != "ok")
    assert (finding.check, finding.level) == (setting, "warning")
    assert advice in finding.advice


def test_a_time_zone_other_than_utc_is_a_warning() -> None:
    assert server_checks.of_timezone("Etc/UTC").level == "ok"
    assert server_checks.of_timezone("Europe/Berlin").level == "warning"


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"timescaledb": "2.18.2"}, "TimescaleDB", "problem"),
        ({"timescaledb": "2.29.1"}, "TimescaleDB", "warning"),
        ({"timescaledb": None}, "TimescaleDB", "problem"),
        ({"has_btree_gist": False}, "btree_gist", "problem"),
        ({"has_scheduler": False}, "edition", "warning"),
        ({"restoring": "on"}, "restoring", "problem"),
        ({"scheduler_runs": False}, "scheduler", "problem"),
        ({"scheduler_runs": None}, "scheduler", "warning"),
    ],
    ids=str,
)
def test_a_server_that_is_not_well_is_found(change: dict[str, Any], check: str, level: str) -> None:
    def judged(server: dict[str, Any]) -> list[Finding]:
        found = list(server_checks.of_server(server))
        if server["timescaledb"]:
            found += server_checks.of_scheduler(server)
        return [finding for finding in found if finding.level != "ok"]

    assert judged(SERVER) == []
    (finding,) = judged(SERVER | change)
    assert (finding.check, finding.level) == (check, level)
    assert finding.advice


def job(number: int, error: str | None) -> Row:
    return {"job_id": number, "what": f"policy_{number}", "error": error}


def test_the_scheduler_s_failure_is_one_problem_with_its_cause_and_its_cure() -> None:
    failing = [job(number, PORTAL) for number in range(1000, 1012)]

    (scheduler,) = data_checks.of_jobs(failing, [])

    assert (scheduler.check, scheduler.level) == ("scheduler", "problem")
    assert PORTAL in scheduler.says
    assert "12 by now" in scheduler.says
    assert "PostgreSQL 15.20 and 17.12" in scheduler.says
    assert "`fleetwatt maintain --every 5m`" in scheduler.advice


def test_a_job_that_fails_for_a_reason_of_its_own_is_a_problem_beside_it() -> None:
    failing = [job(1000, PORTAL), job(1001, "out of disk"), job(1002, None)]

    _, full, unknown = data_checks.of_jobs(failing, [])

    assert full.says == "job 1001 (policy_1001) failed: out of disk"
    assert unknown.says == "job 1002 (policy_1002) failed: no message"


def test_a_server_without_timescaledb_is_a_problem() -> None:
    (finding,) = server_checks.of_server(None)
    assert (finding.level, finding.says) == ("problem", "not installed")


ARCHIVER: dict[str, Any] = {
    "archives": True,
    "last_archived_time": datetime(2024, 2, 9, 10, tzinfo=UTC),
    "last_failed_time": None,
    "last_failed_wal": None,
    "may_list": True,
}


@pytest.mark.parametrize(
    ("archiver", "ended", "level", "says"),
    [
        ({"archives": False}, None, "unknown", "archives no WAL"),
        ({}, None, "unknown", "no record of a base backup"),
        ({}, datetime(2024, 2, 9, 3, tzinfo=UTC), "ok", "base backup ended at 2024-02-09T03:00Z"),
        (
            {"last_failed_time": datetime(2024, 2, 9, 11, tzinfo=UTC), "last_failed_wal": "0" * 24},
            datetime(2024, 2, 9, 3, tzinfo=UTC),
            "problem",
            "fails, last at 2024-02-09T11:00Z",
        ),
    ],
    ids=["no archive", "no base backup", "a base backup", "archiving fails"],
)
def test_a_backup_is_judged_by_what_the_server_knows(
    archiver: dict[str, Any], ended: datetime | None, level: str, says: str
) -> None:
    finding = server_checks.of_backups(ARCHIVER | archiver, ended)

    assert (finding.check, finding.level) == ("backup", level)
    assert says in finding.says


def test_strict_fails_for_a_warning(command: Command) -> None:
    levels = {finding["level"] for finding in json.loads(command("doctor", "--json").stdout)}

    assert command("doctor", "--strict").exit_code == int(bool(levels & {"warning", "problem"}))
    assert command("doctor").exit_code == int("problem" in levels)
