"""The commands about chunks: which there are, how much time one holds, and how much it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fleetwatt.cli import output, parameters
from fleetwatt.cli.confirmation import changing, confirm
from fleetwatt.cli.database import opened_database
from fleetwatt.lifecycle import chunk_advice, policies, storage

if TYPE_CHECKING:
    from datetime import timedelta

    from fleetwatt.database.pool import Row

_HISTORY = f"TABLE is {' or '.join(policies.HISTORIES)}."


@click.group()
def chunks() -> None:
    """The chunks of tables, and how much time one holds."""


@chunks.command("list", epilog=f"TABLE is one of {', '.join(storage.ORDER)}.")
@click.argument("table", type=click.Choice(storage.ORDER), required=False, metavar="[TABLE]")
@output.JSON
def list_(table: str | None, *, as_json: bool) -> None:
    """List the chunks of TABLE, or of all tables, oldest first."""
    with opened_database() as database:
        stored = database.query("stored_chunks", table=table)
    if as_json:
        output.echo_json([_described(chunk) for chunk in stored])
        return
    output.echo_table(
        ("chunk", "table", "from", "to", "rows", "size", "uncompressed", "indexes"),
        [
            (
                chunk["chunk"],
                chunk["table_name"],
                output.time(chunk["range_start"]),
                output.time(chunk["range_end"]),
                f"{chunk['rows']:,}",
                output.size(chunk["bytes"]),
                output.size(chunk["bytes_uncompressed"]) if chunk["compressed"] else "-",
                output.size(chunk["index_bytes"]),
            )
            for chunk in stored
        ],
    )


def _described(chunk: Row) -> dict[str, Any]:
    return {
        "chunk": chunk["chunk"],
        "table": chunk["table_name"],
        "start": chunk["range_start"],
        "end": chunk["range_end"],
        "rows": chunk["rows"],
        "compressed": chunk["compressed"],
        "bytes": chunk["bytes"],
        "bytesUncompressed": chunk["bytes_uncompressed"],
        "indexBytes": chunk["index_bytes"],
    }


@chunks.command()
@output.JSON
def interval(*, as_json: bool) -> None:
    """Show how much time a chunk holds, and how much would fit."""
    with opened_database() as database:
        stored = storage.ordered(database.query("stored_tables"))
        advice = chunk_advice.advise(database)
    if as_json:
        output.echo_json(
            {
                "sharedBuffersBytes": advice.shared_buffers,
                "activeIndexBytes": advice.taken,
                "tables": [
                    {
                        "table": row["table_name"],
                        "chunkIntervalSeconds": output.seconds(row["chunk_interval"]),
                        "chunks": row["chunks"],
                        "indexBytesPerChunk": advice.indexes.get(row["table_name"]),
                        "fittingSeconds": output.seconds(advice.fitting.get(row["table_name"])),
                    }
                    for row in stored
                ],
            }
        )
        return
    output.echo_table(
        ("table", "a chunk holds", "chunks", "indexes of a chunk"),
        [
            (
                row["table_name"],
                output.duration(row["chunk_interval"]),
                str(row["chunks"]),
                output.size(advice.indexes.get(row["table_name"])),
            )
            for row in stored
        ],
    )
    click.echo(
        f"\nThe indexes of the active chunks take {output.size(advice.taken)} together; "
        f"shared_buffers is {output.size(advice.shared_buffers)}."
    )
    for table, fitting in advice.fitting.items():
        click.echo(
            "That is too little to keep them in memory. Raise it, or run "
            f"`fleetwatt chunks set-interval {table} {output.duration(fitting)}`."
        )


@chunks.command("set-interval", epilog=_HISTORY)
@click.argument("table", type=click.Choice(list(policies.HISTORIES)), metavar="TABLE")
@click.argument("interval", type=parameters.Duration(least=policies.BUCKET), metavar="DURATION")
@changing
def set_interval(
    table: str, interval: timedelta, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Let each new chunk of TABLE hold DURATION.

    Write a duration as 12h, 1d or 1w. Existing chunks stay as they are.
    """
    with opened_database() as database:
        now = next(
            row["chunk_interval"]
            for row in database.query("stored_tables")
            if row["table_name"] == table
        )
        click.echo(
            f"{table}: a chunk holds {output.duration(now)} now, "
            f"new ones {output.duration(interval)} then. "
            "Chunks are dropped and compressed as a whole, once all of one is old enough.",
            err=as_json,
        )
        is_changed = confirm(yes=yes, dry_run=dry_run, as_json=as_json)
        if is_changed:
            database.execute_once("set_chunk_interval", table=table, interval=interval)
            click.echo(f"New chunks of {table} hold {output.duration(interval)}.", err=as_json)
    if as_json:
        output.echo_json(
            {
                "table": table,
                "beforeSeconds": output.seconds(now),
                "afterSeconds": output.seconds(interval),
                "changed": is_changed,
            }
        )
