"""What is well and what is not with a server: its versions, its scheduler, its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetwatt.database.errors import UPGRADE
from fleetwatt.database.schema import editions
from fleetwatt.lifecycle.findings import Finding
from fleetwatt.times import format_minute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from fleetwatt.database.pool import Row

DEFAULT_SHARED_BUFFERS = 128 * 1024**2  # bytes
SWITCHES = (
    ("fsync", "on", "a crash of the machine may cost what was acknowledged, or the whole database"),
    ("full_page_writes", "on", "a crash of the machine may leave half-written pages behind"),
    (
        "transaction_read_only",
        "off",
        "no reading can be stored (see default_transaction_read_only)",
    ),
    ("jit", "off", "compiling costs more than these short statements"),
    ("timescaledb.telemetry_level", "off", "the server reports home once a day otherwise"),
)
LACKS = {
    "apache": "the Apache edition: no continuous aggregates (hourly figures are computed from raw "
    "readings and end with them), no columnstore, no policies (`fleetwatt maintain` drops what "
    "retention says)",
    "timescale": "the Community edition: lacks nothing",
}


def of_server(server: Row | None) -> Iterator[Finding]:
    """Judge versions, the edition and the extensions."""
    if server is None or server["timescaledb"] is None:
        yield Finding(
            "TimescaleDB",
            "problem",
            "not installed" if server is None else "not created in this database",
            "see https://docs.tigerdata.com/self-hosted/latest/install/"
            if server is None
            else UPGRADE,
        )
        return
    yield _of_version(server)
    if server["has_scheduler"]:
        yield Finding("edition", "ok", LACKS[server["edition"]])
    else:
        yield Finding(
            "edition",
            "warning",
            "the embedded database: the Community edition without a scheduler (`make run` runs "
            "the jobs), and it never fsyncs: a power loss may cost what was acknowledged",
            "use it for trying, and a TimescaleDB server for data that matters",
        )
    if server["has_btree_gist"]:
        yield Finding("btree_gist", "ok", "there")
    else:
        yield Finding("btree_gist", "problem", "missing", "run `CREATE EXTENSION btree_gist`")


def _of_version(server: Row) -> Finding:
    version = server["timescaledb"]
    says = f"{version} on PostgreSQL {server['postgresql']}"
    if editions.is_too_old(version):
        oldest = ".".join(map(str, editions.OLDEST))
        return Finding("TimescaleDB", "problem", says, f"update to {oldest} or later")
    if version != server["offered"]:
        return Finding(
            "TimescaleDB",
            "warning",
            f"{says}; the server has {server['offered']} to offer",
            "run `ALTER EXTENSION timescaledb UPDATE` as the first command of a new session",
        )
    return Finding("TimescaleDB", "ok", says)


def of_scheduler(server: Row) -> Iterator[Finding]:
    """Judge whether TimescaleDB can do its work in this database."""
    if server["restoring"] == "on":
        yield Finding(
            "restoring",
            "problem",
            "the database is still set to being restored: no job runs",
            "run `SELECT timescaledb_post_restore()`",
        )
    if server["edition"] == "apache" or not server["has_scheduler"]:
        return
    if server["scheduler_runs"] is None:
        yield Finding(
            "scheduler",
            "warning",
            "this role may not see the server's processes",
            "grant it pg_read_all_stats, or ask as another",
        )
    elif server["scheduler_runs"]:
        yield Finding("scheduler", "ok", "runs")
    else:
        yield Finding(
            "scheduler",
            "problem",
            "does not run: nothing is refreshed, compressed or dropped",
            "run `SELECT _timescaledb_functions.start_background_workers()`; "
            "see timescaledb.max_background_workers and the server's log",
        )


def of_settings(settings: Mapping[str, Mapping[str, Any]], server: Row) -> Iterator[Finding]:
    """Judge the settings that matter; numbers are in their base unit, memory in bytes."""
    number = {name: row["number"] for name, row in settings.items()}
    shared = number["shared_buffers"]
    yield _setting(
        "shared_buffers",
        f"{shared // 1024**2} MB",
        shared > DEFAULT_SHARED_BUFFERS,
        "set it to a quarter of the machine's memory, so that the indexes of the chunks that are "
        "written to stay in it",
    )
    workers = number["timescaledb.max_background_workers"]
    if server["edition"] != "apache":
        # One for each database's scheduler, and some for jobs that run at once.
        needed = number["databases"] + 2
        yield _setting(
            "timescaledb.max_background_workers",
            str(workers),
            workers >= needed,
            f"set it to {needed} at least: one a database, and two for jobs",
        )
    needed = 3 + workers + number["max_parallel_workers"]
    yield _setting(
        "max_worker_processes",
        str(number["max_worker_processes"]),
        number["max_worker_processes"] >= needed,
        f"set it to {needed} at least: 3 + timescaledb.max_background_workers + "
        "max_parallel_workers",
    )
    for name, wanted, why in SWITCHES:
        value = settings[name]["setting"] if name in settings else wanted
        yield _setting(name, value, value == wanted, f"set it to {wanted}: {why}")


def of_backups(archiver: Row, base_backup_ended: datetime | None) -> Finding:
    """Judge what the server knows of backups, which others make."""
    if not archiver["archives"]:
        return Finding(
            "backup",
            "unknown",
            "the server archives no WAL, and has no record of dumps",
            "ask what makes the backups when the last one was",
        )
    archived, failed = archiver["last_archived_time"], archiver["last_failed_time"]
    if failed and (archived is None or failed > archived):
        return Finding(
            "backup",
            "problem",
            f"archiving WAL fails, last at {format_minute(failed)} ({archiver['last_failed_wal']})",
            "see archive_command, or archive_library, and the server's log",
        )
    up_to = f"WAL was archived last at {format_minute(archived)}" if archived else "no WAL is yet"
    if base_backup_ended is None:
        return Finding(
            "backup",
            "unknown",
            f"{up_to}; pg_wal has no record of a base backup",
            "make one, or ask what makes them (as `pgbackrest info`)"
            if archiver["may_list"]
            else "grant this role pg_monitor, so that it may look there",
        )
    ended = format_minute(base_backup_ended)
    return Finding("backup", "ok", f"the last base backup ended at {ended}; {up_to}")


def of_timezone(timezone: str) -> Finding:
    """Judge the time zone of a session that asks for none, as jobs and psql are."""
    return _setting(
        "timezone",
        timezone,
        timezone in {"UTC", "Etc/UTC", "GMT"},
        "set it to UTC: days of policies are the server's days, and answers are in UTC",
    )


def _setting(name: str, value: str, is_well: bool, advice: str) -> Finding:
    return Finding(name, "ok" if is_well else "warning", value, "" if is_well else advice)
