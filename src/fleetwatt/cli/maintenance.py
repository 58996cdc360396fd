"""The commands that maintain a database and examine it."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from fleetwatt.cli import output, parameters
from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import DatabaseError
from fleetwatt.lifecycle import doctor as diagnosis
from fleetwatt.lifecycle import maintenance

if TYPE_CHECKING:
    from datetime import timedelta


@click.command()
@click.option(
    "--every",
    type=parameters.Duration(),
    help="repeat it, with a pause such as 5m",
)
@click.option("--json", "as_json", is_flag=True, help="print each round as one line of JSON")
def maintain(every: timedelta | None, *, as_json: bool) -> None:
    """Do what TimescaleDB's scheduler does elsewhere.

    Run due jobs on the embedded database, drop what retention says on the Apache edition, and run
    the jobs that failed on a Community server. The exit status is 1 if something failed.
    """
    config = replace(Config.of_a_command(), pool_size=1)
    try:
        with closing(Database(config)) as database:
            has_failed = _maintain_again(database, every, as_json=as_json)
    except KeyboardInterrupt:
        # As a shell says it: `fleetwatt dev` sees by it that it is to end, too.
        sys.exit(128 + signal.SIGINT)
    sys.exit(int(has_failed))


def _maintain_again(database: Database, every: timedelta | None, *, as_json: bool) -> bool:
    """Maintain once or for ever; return whether anything failed."""
    has_failed = was_needed = is_first = True
    while True:
        try:
            # A command that looks again and again says once what it looks at.
            has_failed = _maintain(database, says_what=is_first, as_json=as_json)
            is_first = False
            is_needed = maintenance.is_needed(database)
            if was_needed and not is_needed:
                click.echo("TimescaleDB's own scheduler does the rest here.", err=as_json)
            # A job may fail later: a command that looks again and again goes on.
            was_needed = is_needed
        except DatabaseError as error:
            if not every:
                raise
            # What is away now may be there next time.
            click.echo(f"fleetwatt: {error}", err=True)
        if not every:
            return has_failed
        time.sleep(every.total_seconds())


def _maintain(database: Database, *, says_what: bool, as_json: bool) -> bool:
    """Do what is due, say what was looked at and done, and return whether anything failed."""
    deeds = []
    scope = maintenance.scope(database)
    if says_what:
        click.echo(scope, err=as_json)
    with output.working("Maintaining"):
        for deed in maintenance.maintain(database):
            if not as_json:
                click.echo(str(deed), err=bool(deed.error))
            deeds.append(deed)
    if as_json:
        output.echo_json({"lookedAt": scope, "deeds": [asdict(deed) for deed in deeds]})
    elif says_what and not deeds:
        click.echo("Nothing was to be done.")
    return any(deed.error for deed in deeds)


@click.command()
@click.option("--strict", is_flag=True, help="exit with status 1 for a warning, too")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def doctor(*, strict: bool, as_json: bool) -> None:
    """Check the database, and advise on what is wrong.

    The exit status is 1 if there is a problem; with --strict also if there is a warning.
    """
    with output.working("Examining"):
        findings = list(diagnosis.examine(Config.of_a_command()))
    if as_json:
        output.echo_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.level:8} {finding.check}: {finding.says}")
            if finding.advice:
                click.echo(f"         → {finding.advice}")
    failing = {"problem", "warning"} if strict else {"problem"}
    sys.exit(int(any(finding.level in failing for finding in findings)))
