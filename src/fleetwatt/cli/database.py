"""The commands about the database: its schema and what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import click

from fleetwatt.cli import output
from fleetwatt.config import Config
from fleetwatt.database.client import Database
from fleetwatt.database.errors import NotAllowed, translated
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations
from fleetwatt.lifecycle import storage
from fleetwatt.schemas.admin import Storage


@click.group()
def db() -> None:
    """Look after the database."""


@contextmanager
def opened_database() -> Iterator[Database]:
    """Open the database for a command."""
    with closing(Database(Config.of_a_command())) as database:
        try:
            yield database
        except NotAllowed as refused:
            found = database.query_one("schema_owner")
            if found is None or found["role"] == found["owner"]:
                raise
            raise NotAllowed(
                f"{refused}: the role {found['role']} may not do that; name {found['owner']}, "
                "which owns the schema, in FLEETWATT_DATABASE_URL"
            ) from refused


@db.command()
@click.option(
    "--until",
    type=click.IntRange(1),
    help="apply migrations up to this number alone, beside a release that serves on",
)
@click.option("--dry-run", is_flag=True, help="list what would be applied and change nothing")
@output.JSON
def upgrade(until: int | None, *, dry_run: bool, as_json: bool) -> None:
    """Bring the schema up to date."""
    config = Config.of_a_command()
    if not dry_run:
        upgrade_schema(config, until, as_json=as_json)
        return
    with translated(), closing(connect(config)) as connection:
        pending = migrations.pending(connection, until)
    if as_json:
        output.echo_json({"pending": pending, "applied": []})
        return
    for file in pending:
        click.echo(f"  would apply {file}")
    click.echo("Nothing was changed." if pending else "The schema is up to date.")


@db.command()
@output.JSON
def history(*, as_json: bool) -> None:
    """List what was applied to the schema and when, in order."""
    with translated(), closing(connect(Config.of_a_command())) as connection:
        applied = migrations.history(connection)
    if as_json:
        output.echo_json(
            [
                {
                    "file": row["file"],
                    "appliedAt": row["applied_at"],
                    "checksum": row["checksum"],
                    "state": row["state"],
                }
                for row in applied
            ]
        )
        return
    if not applied:
        click.echo("Nothing was applied yet.")
        return
    output.echo_table(
        ("file", "applied", "checksum", "state"),
        [
            (row["file"], output.time(row["applied_at"]), row["checksum"][:12], row["state"])
            for row in applied
        ],
    )


@db.command()
@click.option("--json", "as_json", is_flag=True, help="print it as GET /v1/admin/storage does")
def status(*, as_json: bool) -> None:
    """Show what is stored, what it costs and what will be dropped."""
    with opened_database() as database, output.working("Counting"):
        report = storage.report(database)
    if as_json:
        click.echo(Storage().dumps(report))
    else:
        _say(report)


def _say(report: dict[str, Any]) -> None:
    click.echo(
        f"TimescaleDB {report['version']} ({report['edition']}) on PostgreSQL "
        f"{report['postgresql']}\n"
    )
    _say_tables(report["tables"])
    _say_policies(report["policies"])
    for warning in report["warnings"]:
        click.echo(f"\nWarning ({warning['rule']}): {warning['message']}")


def _say_tables(tables: list[dict[str, Any]]) -> None:
    output.echo_table(
        ("table", "rows", "chunks", "compressed", "size", "uncompressed", "a row", "a day"),
        [
            (
                table["table_name"],
                f"{table['rows']:,}",
                str(table["chunks"]),
                str(table["compressed_chunks"]),
                output.size(table["bytes"]),
                output.size(table["bytes_uncompressed"]),
                output.size(table["bytes_a_row"]),
                output.size(table["bytes_a_day"]),
            )
            for table in tables
        ],
    )
    click.echo()
    output.echo_table(
        ("table", "oldest", "newest"),
        [
            (table["table_name"], *map(output.time, (table["oldest"], table["newest"])))
            for table in tables
        ],
    )


def _say_policies(policies: list[dict[str, Any]]) -> None:
    click.echo()
    if not policies:
        click.echo("There are no policies: the database refreshes, compresses and drops nothing.")
        return
    output.echo_table(
        ("policy", "last run", "result", "next run"),
        [
            (
                f"{policy['table_name']}: {policy['does']}",
                output.time(policy["last_run"]),
                policy["last_status"] or "-",
                output.time(policy["next_run"]),
            )
            for policy in policies
        ],
    )


def upgrade_schema(config: Config, until: int | None = None, *, as_json: bool = False) -> None:
    """Apply what is missing, or migrations up to a number alone, and say so file by file."""
    with translated():
        # A migration takes as long as it takes.
        connection = connect(replace(config, statement_timeout=0))
    applied = []
    with closing(connection), output.working("Upgrading"):
        for file in migrations.upgrade(connection, until):
            click.echo(f"  applied {file}", err=as_json)
            applied.append(file)
    if as_json:
        output.echo_json({"pending": [], "applied": applied})
        return
    click.echo("The schema is up to date." if until is None else f"Migration {until} is applied.")
