"""How long tables are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fleetwatt.cli import output, parameters
from fleetwatt.cli.confirmation import changing, confirm
from fleetwatt.cli.database import opened_database
from fleetwatt.lifecycle import policies

if TYPE_CHECKING:
    from datetime import timedelta

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row
    from fleetwatt.lifecycle.policies import Policies

_TABLE = click.argument("table", type=click.Choice(list(policies.TABLES)), metavar="TABLE")
_WHICH = f"TABLE is one of {', '.join(policies.TABLES)}."


@click.group()
def retention() -> None:
    """How long tables are kept."""


@retention.command()
@output.JSON
def show(*, as_json: bool) -> None:
    """Show how long each table is kept, and what the next run drops."""
    with opened_database() as database:
        kept = [
            (table, keep, _doomed(database, table, keep))
            for stream, now in policies.read(database).items()
            for table, keep in (
                (stream.history, now.keep_raw),
                *([(stream.hourly, now.keep_hourly)] if now.materialized else []),
            )
        ]
    if as_json:
        output.echo_json(
            [
                {"table": table, "keptSeconds": output.seconds(keep), "nextRun": _figures(doomed)}
                for table, keep, doomed in kept
            ]
        )
        return
    output.echo_table(
        ("table", "kept", "the next run drops"),
        [(table, _kept(keep), _dropped(doomed)) for table, keep, doomed in kept],
    )


@retention.command("set", epilog=_WHICH)
@_TABLE
@click.argument("keep", type=parameters.Duration(least=policies.BUCKET), metavar="DURATION")
@changing
def set_(table: str, keep: timedelta, **consent: bool) -> None:
    """Keep TABLE for DURATION.

    Write a duration as 12h, 90d or 2w. The refresh of the table's aggregate follows.
    """
    _change(table, keep, **consent)


@retention.command(epilog=_WHICH)
@_TABLE
@changing
def unset(table: str, **consent: bool) -> None:
    """Keep TABLE for ever."""
    _change(table, None, **consent)


def _change(table: str, keep: timedelta | None, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    with opened_database() as database:
        before, after = policies.plan_retention(database, table, keep)
        old = before.keep_raw if table in policies.HISTORIES else before.keep_hourly
        doomed = _doomed(database, table, keep)
        click.echo(f"{table}: kept {_kept(old)} now, {_kept(keep)} then.", err=as_json)
        click.echo(f"The next run drops {_dropped(doomed)}.", err=as_json)
        _say_refresh(before, after, as_json=as_json)
        is_changed = confirm(yes=yes, dry_run=dry_run, as_json=as_json)
        if is_changed:
            with output.working(f"Setting the retention of {table}"):
                policies.set_retention(database, table, after)
            click.echo(f"{table} is kept {_kept(keep)}.", err=as_json)
    if as_json:
        output.echo_json(
            {
                "table": table,
                "beforeSeconds": output.seconds(old),
                "afterSeconds": output.seconds(keep),
                "nextRun": _figures(doomed),
                "changed": is_changed,
            }
        )


def _kept(keep: timedelta | None) -> str:
    return output.duration(keep, "for ever")


def _say_refresh(before: Policies, after: Policies, *, as_json: bool) -> None:
    if before.refresh_from != after.refresh_from:
        old, new = (output.duration(policy.refresh_from, "for ever") for policy in (before, after))
        click.echo(
            f"The refresh of {after.stream.hourly} reaches back {new} then, {old} now.",
            err=as_json,
        )


def _doomed(database: Database, table: str, keep: timedelta | None) -> Row | None:
    """Return what a run would drop, chunks that are wholly older; None: nothing."""
    if keep is None:
        return None
    doomed = database.query_one("doomed_chunks", table=table, older_than=keep)
    return doomed if doomed and doomed["chunks"] else None


def _figures(doomed: Row | None) -> dict[str, Any]:
    return {
        name: doomed[column] if doomed else nothing
        for name, column, nothing in (
            ("chunks", "chunks", 0),
            ("rows", "rows", 0),
            ("bytes", "bytes", 0),
            ("start", "oldest", None),
            ("end", "up_to", None),
        )
    }


def _dropped(doomed: Row | None) -> str:
    if doomed is None:
        return "nothing"
    return (
        f"{output.chunks(doomed)} of {output.time(doomed['oldest'])} to "
        f"{output.time(doomed['up_to'])}, about {doomed['rows']:,} rows, "
        f"{output.size(doomed['bytes'])}"
    )
