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

    from fleetwatt.database.pool import Row

# The aggregates are refreshed as far back as readings come late: they stay as they are.
_TABLE = click.argument("table", type=click.Choice(list(policies.HISTORIES)), metavar="TABLE")
_WHICH = f"TABLE is {' or '.join(policies.HISTORIES)}."


@click.group()
def compression() -> None:
    """When chunks of history are compressed, into columnstore."""


@compression.command()
@output.JSON
def show(*, as_json: bool) -> None:
    """Show when each table is compressed, and what that has saved."""
    with opened_database() as database:
        after = {
            current.stream.history: current.compress_after
            for current in policies.read(database).values()
        }
        stored = storage.ordered(database.query("stored_tables"))
    if as_json:
        output.echo_json(
            [
                {
                    "table": row["table_name"],
                    "compressedAfterSeconds": output.seconds(after[row["table_name"]]),
                    "chunks": row["chunks"],
                    "compressedChunks": row["compressed_chunks"],
                    "bytes": row["bytes"],
                    "bytesUncompressed": row["bytes_uncompressed"],
                }
                for row in stored
                if row["table_name"] in after
            ]
        )
        return
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
def set_(table: str, after: timedelta, **consent: bool) -> None:
    """Compress the chunks of TABLE that are older than DURATION.

    Write a duration as 12h, 90d or 2w.
    """
    _change(table, after, **consent)


@compression.command(epilog=_WHICH)
@_TABLE
@changing
def unset(table: str, **consent: bool) -> None:
    """Compress no more chunks of TABLE; compressed ones stay compressed."""
    _change(table, None, **consent)


def _change(
    table: str, after: timedelta | None, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    with opened_database() as database:
        before, _ = policies.plan_compression(database, table, after)
        then = output.duration(after, "never")
        click.echo(
            f"{table}: compressed after {output.duration(before.compress_after, 'never')} now, "
            f"{then} then.",
            err=as_json,
        )
        due = (
            None
            if after is None
            else database.query_one("packed_chunks", table=table, older_than=after)
        )
        click.echo(f"The next run compresses {_packed(due)}.", err=as_json)
        is_changed = confirm(yes=yes, dry_run=dry_run, as_json=as_json)
        if is_changed:
            database.execute_once("set_compression", table=table, after=after)
            click.echo(f"{table} is compressed after {then}.", err=as_json)
    if as_json:
        output.echo_json(
            {
                "table": table,
                "beforeSeconds": output.seconds(before.compress_after),
                "afterSeconds": output.seconds(after),
                "nextRun": {name: due[name] if due else 0 for name in ("chunks", "rows")},
                "changed": is_changed,
            }
        )


def _packed(due: Row | None) -> str:
    """Say what a run would compress: chunks that are wholly older and are not yet."""
    if not due or not due["chunks"]:
        return "nothing"
    return f"{output.chunks(due)}, about {due['rows']:,} rows, {output.size(due['bytes'])}"
