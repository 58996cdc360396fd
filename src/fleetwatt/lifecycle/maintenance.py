"""Maintenance of databases that TimescaleDB's scheduler does not maintain.

| database | what | who does it |
|---|---|---|
| Community | jobs: refresh, columnstore, retention | its scheduler; what failed there, this |
| embedded | the same jobs; vacuum, checkpoint | this, since nothing else runs them |
| Apache | retention; there are no jobs | this, by drop_chunks() |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetwatt.database.errors import DatabaseError
from fleetwatt.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row


@dataclass(frozen=True)
class Deed:
    """One step of maintenance; `error` is why it failed, None: it succeeded."""

    what: str
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.error}" if self.error else self.what


def is_needed(database: Database) -> bool:
    """Whether this database needs maintenance by `maintain`."""
    is_apache, has_scheduler = _kind(database)
    return is_apache or not has_scheduler or bool(database.query("failing_jobs"))


def scope(database: Database) -> str:
    """Say what a round of maintenance looks at."""
    is_apache, has_scheduler = _kind(database)
    if is_apache:
        kept = ", ".join(
            f"{row['table_name']} ({format_duration(row['drop_after'])})"
            for row in database.query("kept")
        )
        return f"Looking for chunks that are past retention: {kept or 'no table has one'}."
    found = database.query_one("job_counts")
    assert found is not None  # noqa: S101 - it counts
    if has_scheduler:
        return f"Looking at {found['jobs']} jobs: the last run of {found['failing']} failed."
    return f"Looking at {found['jobs']} jobs: {found['due']} are due; then vacuum and checkpoint."


def maintain(database: Database) -> Iterator[Deed]:
    """Do what is due step by step, so that other sessions take their turn in between.

    Where TimescaleDB's scheduler runs the jobs, those whose last run failed are run here: a job
    that fails in a background worker may succeed in a session (decision 14).
    """
    is_apache, has_scheduler = _kind(database)
    if is_apache:
        yield from _drop_expired(database)
    elif has_scheduler:
        for row in database.query("failing_jobs"):
            yield _run(database, row)
    else:
        for row in database.query("due_jobs"):
            yield _run(database, row)
        database.tidy()


def _kind(database: Database) -> tuple[bool, bool]:
    """Return whether a database is of the Apache edition, and whether a scheduler runs there."""
    found = database.query_one("maintainer")
    assert found is not None  # noqa: S101 - it has no FROM
    return found["edition"] == "apache", found["has_scheduler"]


def _run(database: Database, job: Row) -> Deed:
    """Run a job and set when it is due again; it stays due if this process dies meanwhile.

    A job of another role's is left to that role, and the others run.
    """
    what, again = f"job {job['job_id']} ({job['what']})", job["schedule_interval"]
    if not job["is_ours"]:
        return Deed(f"left {what} to {job['owner']}, whose it is")
    try:
        database.run_job(job["job_id"])
        deed = Deed(f"ran {what}")
    except DatabaseError as error:
        deed = Deed(f"{what} failed", str(error))
        again = job["retry_period"]
    database.execute_once("plan_next_run", job_id=job["job_id"], after=again)
    return deed


def _drop_expired(database: Database) -> Iterator[Deed]:
    for row in database.query("kept"):
        table, drop_after = row["table_name"], row["drop_after"]
        what = f"chunks of {table} older than {format_duration(drop_after)}"
        try:
            dropped = database.execute_once("drop_chunks", table=table, drop_after=drop_after)
        except DatabaseError as error:
            yield Deed(f"dropping {what} failed", str(error))
            continue
        if dropped and dropped["chunks"]:
            yield Deed(f"dropped {dropped['chunks']} {what}")
