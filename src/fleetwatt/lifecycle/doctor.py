"""What is well and what is not with a database: each finding says what to do about it.

It looks at one that fleetwatt would refuse to serve on, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fleetwatt.database import queries
from fleetwatt.database.errors import UPGRADE, translated
from fleetwatt.database.pool import Row, connect, fetch
from fleetwatt.database.schema import editions, migrations
from fleetwatt.streams import STREAMS
from fleetwatt.times import format_minute

if TYPE_CHECKING:
    from fleetwatt.config import Config
    from fleetwatt.database.schema.migrations import Drift

Level = Literal["ok", "warning", "problem"]
Ask = Callable[[str], list[Row]]
DEFAULT_SHARED_BUFFERS = 128 * 1024**2  # bytes
# Late readings leave hours behind until the next refresh; a day of them is no longer usual.
USUAL_UNREFRESHED = 24  # hours
LACKS = {
    "apache": "the Apache edition: no continuous aggregates (hourly figures are computed from raw "
    "readings and end with them), no columnstore, no policies (`fleetwatt maintain` drops what "
    "retention says)",
    "timescale": "the Community edition: lacks nothing",
}


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do where it isn't well."""

    check: str
    level: Level
    says: str
    advice: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """Look at a database, and yield at least one finding for each check.

    Raises:
        Unavailable: There is no database to look at.
    """
    statements = queries.load()
    with translated(), closing(connect(config)) as connection:

        def ask(query: str) -> list[Row]:
            return fetch(connection, statements[query])

        server = next(iter(ask("doctor_server")), None)
        yield from of_server(server)
        if server is None or server["timescaledb"] is None:
            return
        yield from of_scheduler(server)
        if server["has_scheduler"]:
            yield from of_settings({row["name"]: row for row in ask("doctor_settings")}, server)
            with closing(connect(config, timezone=None)) as plain:
                (row,) = fetch(plain, "SELECT current_setting('TimeZone') AS timezone")
            yield of_timezone(row["timezone"])
        drift = migrations.drift(connection)
        yield from of_schema(drift)
        if not drift.missing:
            yield from _of_data(ask, is_apache=server["edition"] == "apache")


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
    for name, why in (
        ("jit", "compiling costs more than these short statements"),
        ("timescaledb.telemetry_level", "the server reports home once a day otherwise"),
    ):
        value = settings[name]["setting"] if name in settings else "off"
        yield _setting(name, value, value == "off", f"set it to off: {why}")


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


def of_schema(drift: Drift) -> Iterator[Finding]:
    """Judge whether the schema is this program's."""
    edited = [file for file in drift.changed if file.startswith("migrations/")]
    outdated = [file for file in drift.changed if file not in edited]
    if drift.missing:
        yield Finding("schema", "problem", f"lacks {', '.join(drift.missing)}", UPGRADE)
    if edited:
        yield Finding(
            "schema",
            "problem",
            f"{', '.join(edited)} was applied with another text",
            "put the file back as it was, and write a new migration instead",
        )
    if outdated:
        yield Finding("schema", "warning", f"{', '.join(outdated)} has changed since", UPGRADE)
    if drift.unknown:
        yield Finding(
            "schema",
            "warning",
            f"is ahead of this program: {', '.join(drift.unknown)}",
            "install the release that applied it",
        )
    if not (drift.missing or drift.changed or drift.unknown):
        yield Finding("schema", "ok", "up to date")


def _of_data(ask: Ask, *, is_apache: bool) -> Iterator[Finding]:
    if not is_apache:
        yield from _of_jobs(ask)
        yield from _of_aggregates(ask)
    expired = ask("expired_chunks")
    for row in expired:
        yield Finding(
            "retention",
            "warning",
            f"{row['table_name']} has {row['chunks']} chunks, "
            f"up to {format_minute(row['up_to'])}, that retention should have dropped",
            "keep `fleetwatt maintain --every 5m` running" if is_apache else "see its job",
        )
    if not expired:
        kept = {row["table_name"] for row in ask("kept")}
        for_ever = [stream.history for stream in STREAMS if stream.history not in kept]
        without = f"; {', '.join(for_ever)} without an end" if for_ever else ""
        yield Finding("retention", "ok", f"nothing is kept beyond it{without}")
    for stream in STREAMS:
        (row,) = ask(f"{stream.name}.future_chunks")
        if row["chunks"]:
            yield Finding(
                "future",
                "problem",
                f"{stream.history} has {row['chunks']} chunks "
                f"from {format_minute(row['since'])} on, ahead of the clock",
                "set the server's clock if it is late; else drop them: `SELECT drop_chunks("
                f"'{stream.history}', newer_than => now() + INTERVAL '1 day')`, then "
                "`fleetwatt audit --repair`",
            )
        else:
            yield Finding("future", "ok", f"{stream.history} has no chunk ahead of the clock")


def _of_jobs(ask: Ask) -> Iterator[Finding]:
    failing, overdue = ask("failing_jobs"), ask("overdue_jobs")
    for row in failing:
        yield Finding(
            "jobs",
            "problem",
            f"job {row['job_id']} ({row['what']}) failed: {row['error'] or 'no message'}",
            "`fleetwatt maintain` runs it at once, in a session; if it fails there, too, mend what "
            "the error says (timescaledb_information.job_errors has the history)",
        )
    for row in overdue:
        yield Finding(
            "jobs",
            "warning",
            f"job {row['job_id']} ({row['what']}) was due at {format_minute(row['next_start'])}",
            "see whether the scheduler runs; for the embedded database, `fleetwatt maintain`",
        )
    if not failing and not overdue:
        yield Finding("jobs", "ok", "none failed, none is overdue")


def _of_aggregates(ask: Ask) -> Iterator[Finding]:
    for stream in STREAMS:
        (row,) = ask(f"{stream.name}.unrefreshed")
        waiting = "1 hour awaits" if row["hours"] == 1 else f"{row['hours']:.0f} hours await"
        says = f"{stream.hourly}: {waiting} a refresh"
        if row["unreached_since"]:
            start, end = (
                format_minute(row["unreached_since"]),
                format_minute(row["unreached_until"]),
            )
            yield Finding(
                "aggregates",
                "problem",
                f"{says}, and no policy refreshes those from {start} to {end}",
                f"run `CALL refresh_continuous_aggregate('{stream.hourly}', '{start}', '{end}')`",
            )
        elif row["hours"] > USUAL_UNREFRESHED:
            between = f"between {format_minute(row['since'])} and {format_minute(row['until'])}"
            advice = "wait for the next refresh; see its job if this stays"
            yield Finding("aggregates", "warning", f"{says}, {between}", advice)
        else:
            yield Finding("aggregates", "ok", says)
