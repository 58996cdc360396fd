"""What is well and what is not with a schema and what it holds: jobs, aggregates, retention."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetwatt.database.errors import UPGRADE
from fleetwatt.lifecycle.findings import Finding
from fleetwatt.streams import STREAMS
from fleetwatt.times import format_minute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.database.pool import Row
    from fleetwatt.database.schema.migrations import Drift

    Ask = Callable[[str], list[Row]]

# Late readings leave hours behind until the next refresh; a day of them is no longer usual.
USUAL_UNREFRESHED = 24  # hours
SCHEDULER_FAILURE = 'cannot drop portal ""'


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


def of_data(ask: Ask, *, is_apache: bool) -> Iterator[Finding]:
    """Judge what the database does with the data, and whether any lies ahead of the clock."""
    if not is_apache:
        yield from of_jobs(ask("failing_jobs"), ask("overdue_jobs"))
        yield from of_owners(ask("jobs_of_others"))
        yield from of_adding(ask("roles_that_add_jobs"))
        yield from _of_aggregates(ask)
    yield from _of_retention(ask, is_apache=is_apache)
    yield from _of_future(ask)


def _of_retention(ask: Ask, *, is_apache: bool) -> Iterator[Finding]:
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


def _of_future(ask: Ask) -> Iterator[Finding]:
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


def of_jobs(failing: list[Row], overdue: list[Row]) -> Iterator[Finding]:
    """Judge how jobs went: what fails in each job that the scheduler starts is one finding."""
    everywhere = [row for row in failing if (row["error"] or "").startswith(SCHEDULER_FAILURE)]
    if everywhere:
        yield Finding(
            "scheduler",
            "problem",
            f"each job that it starts fails with `{everywhere[0]['error']}`, {len(everywhere)} by "
            "now: TimescaleDB's background workers do so on PostgreSQL 15.20 and 17.12, whatever "
            "the job is to do",
            "keep `fleetwatt maintain --every 5m` running as the schema's owner: it runs these "
            "jobs in a session, where they don't fail (the scheduler's own record stays as it is)",
        )
    for row in failing:
        if row in everywhere:
            continue
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


def of_owners(jobs_of_others: list[Row]) -> Iterator[Finding]:
    """Judge whether the schema's owner may run what is fleetwatt's own."""
    for row in jobs_of_others:
        yield Finding(
            "jobs",
            "problem",
            f"job {row['job_id']} ({row['what']}) is {row['owner']}'s, not {row['schema_owner']}'s "
            "as the schema is: `fleetwatt maintain` leaves it, and then raw is never dropped",
            f"run `fleetwatt db roles` as {row['owner']} or a superuser: it hands the job over",
        )


def of_adding(roles: list[Row]) -> Iterator[Finding]:
    """Judge whether anybody but the owner may fill the scheduler with jobs."""
    if roles:
        names = ", ".join(row["role"] for row in roles)
        yield Finding(
            "jobs",
            "warning",
            f"{names} may add jobs, and many jobs keep the policies from being run",
            "run `fleetwatt db roles` as a superuser: it keeps add_job to the owner",
        )


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
