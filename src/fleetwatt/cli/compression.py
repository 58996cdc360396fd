"""The commands that set when chunks are compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetwatt.cli import output, parameters
from fleetwatt.cli.confirmation import changing, confirm
from fleetwatt.cli.database import opened_database
from fleetwatt.lifecycle import policies, storage

if TYPE_CHECKING:
    from datetime import timedelta

    from fleetwatt.database.client import Database

# The aggregates are refreshed as far back as readings come late: they stay as they are.
_TABLE = click.argument("table", type=click.Choice(list(policies.HISTORIES)), metavar="TABLE")
_WHICH = f"TABLE is {' or '.join(policies.HISTORIES)}."


@click.group()
def compression() -> None:
    """When chunks of history are compressed, into columnstore."""


@compression.command()
def show() -> None:
    """Show when each table is compressed, and what that has saved."""
    with opened_database() as database:
        after = {
            current.stream.history: current.compress_after
            for current in policies.read(database).values()
        }
        stored = storage.ordered(database.query("stored_tables"))
    output.echo_table(
        ("table", "compressed after", "chunks", "compressed", "size", "uncompressed"),
        [
            (
                row["table_name"],
                output.duration(after[row["table_name"]], "never"),
                str(row["chunks"]),
                str(row["compressed_chunks"]),
                output.size(row["bytes"]),
                output.size(row["bytes_uncompressed"]),
            )
            for row in stored
            if row["table_name"] in after
        ],
    )


@compression.command("set", epilog=_WHICH)
@_TABLE
@click.argument("after", type=parameters.Duration(least=policies.BUCKET), metavar="DURATION")
@changing
def set_(table: str, after: timedelta, *, yes: bool, dry_run: bool) -> None:
    """Compress the chunks of TABLE that are older than DURATION.

    A duration is written as 12h, 90d or 2w.
    """
    _change(table, after, yes=yes, dry_run=dry_run)


@compression.command(epilog=_WHICH)
@_TABLE
@changing
def unset(table: str, *, yes: bool, dry_run: bool) -> None:
    """Compress no more chunks of TABLE; those that are stay so."""
    _change(table, None, yes=yes, dry_run=dry_run)


def _change(table: str, after: timedelta | None, *, yes: bool, dry_run: bool) -> None:
    with opened_database() as database:
        before, _ = policies.plan_compression(database, table, after)
        then = output.duration(after, "never")
        click.echo(
            f"{table}: compressed after {output.duration(before.compress_after, 'never')} now, "
            f"{then} then."
        )
        click.echo(f"The next run compresses {_packs(database, table, after)}.")
        if confirm(yes=yes, dry_run=dry_run):
            database.execute_once("set_compression", table=table, after=after)
            click.echo(f"{table} is compressed after {then}.")


def _packs(database: Database, table: str, after: timedelta | None) -> str:
    """Say what a run would compress: chunks that are wholly older and are not yet."""
    due = (
        None
        if after is None
        else database.query_one("packed_chunks", table=table, older_than=after)
    )
    if not due or not due["chunks"]:
        return "nothing"
    return f"{output.chunks(due)}, about {due['rows']:,} rows, {output.size(due['bytes'])}"
