"""How long tables are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetwatt.cli import output, parameters
from fleetwatt.cli.confirmation import changing, confirm
from fleetwatt.cli.database import opened_database
from fleetwatt.lifecycle import policies

if TYPE_CHECKING:
    from datetime import timedelta

    from fleetwatt.database.client import Database
    from fleetwatt.lifecycle.policies import Policies

_TABLE = click.argument("table", type=click.Choice(list(policies.TABLES)), metavar="TABLE")
_WHICH = f"TABLE is one of {', '.join(policies.TABLES)}."


@click.group()
def retention() -> None:
    """How long tables are kept."""


@retention.command()
def show() -> None:
    """Show how long each table is kept, and what the next run drops."""
    with opened_database() as database:
        rows = []
        for stream, now in policies.read(database).items():
            kept = {stream.history: now.keep_raw}
            if now.materialized:
                kept[stream.hourly] = now.keep_hourly
            for table, keep in kept.items():
                rows.append(
                    (table, output.duration(keep, "for ever"), _drops(database, table, keep))
                )
    output.echo_table(("table", "kept", "the next run drops"), rows)


@retention.command("set", epilog=_WHICH)
@_TABLE
@click.argument("keep", type=parameters.Duration(least=policies.BUCKET), metavar="DURATION")
@changing
def set_(table: str, keep: timedelta, *, yes: bool, dry_run: bool) -> None:
    """Keep TABLE for DURATION.

    A duration is written as 12h, 90d or 2w. The refresh of the table's aggregate follows.
    """
    _change(table, keep, yes=yes, dry_run=dry_run)


@retention.command(epilog=_WHICH)
@_TABLE
@changing
def unset(table: str, *, yes: bool, dry_run: bool) -> None:
    """Keep TABLE for ever."""
    _change(table, None, yes=yes, dry_run=dry_run)


def _change(table: str, keep: timedelta | None, *, yes: bool, dry_run: bool) -> None:
    with opened_database() as database:
        before, after = policies.plan_retention(database, table, keep)
        old = before.keep_raw if table in policies.HISTORIES else before.keep_hourly
        click.echo(f"{table}: kept {_kept(old)} now, {_kept(keep)} then.")
        click.echo(f"The next run drops {_drops(database, table, keep)}.")
        _say_refresh(before, after)
        if confirm(yes=yes, dry_run=dry_run):
            policies.set_retention(database, table, after)
            click.echo(f"{table} is kept {_kept(keep)}.")


def _kept(keep: timedelta | None) -> str:
    return output.duration(keep, "for ever")


def _say_refresh(before: Policies, after: Policies) -> None:
    if before.refresh_from != after.refresh_from:
        old, new = (output.duration(policy.refresh_from, "for ever") for policy in (before, after))
        click.echo(f"The refresh of {after.stream.hourly} reaches back {new} then, {old} now.")


def _drops(database: Database, table: str, keep: timedelta | None) -> str:
    """Say what a run would drop: chunks that are wholly older."""
    doomed = (
        None if keep is None else database.query_one("doomed_chunks", table=table, older_than=keep)
    )
    if not doomed or not doomed["chunks"]:
        return "nothing"
    return (
        f"{output.chunks(doomed)} of {output.time(doomed['oldest'])} to "
        f"{output.time(doomed['up_to'])}, about {doomed['rows']:,} rows, "
        f"{output.size(doomed['bytes'])}"
    )
