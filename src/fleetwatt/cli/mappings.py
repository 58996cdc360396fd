"""The history of mappings in and out, as a table."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

import click

from fleetwatt.cli import exports, output
from fleetwatt.cli.database import opened_database
from fleetwatt.transfer.mappings import export_mappings, import_mappings
from fleetwatt.transfer.tables import InvalidLines, UnreadableTable

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_PROBLEMS = 100  # that are listed


@click.group()
def mappings() -> None:
    """Move the history of mappings in and out.

    A table in CSV: vehicleId, meterId, validFrom, validTo. An empty validFrom means from the
    beginning, an empty validTo still. `-` is standard input or output.
    """


@mappings.command("export")
@exports.FILE
@exports.FORCE
def export_(file: str, *, force: bool) -> None:
    """Write all mappings to FILE, by vehicle, the oldest first."""
    with opened_database() as database, exports.opened_table(file, force=force) as table:
        written = export_mappings(database, table)
    if file != exports.STDOUT:
        click.echo(f"{written:,} mappings in {file}")


@mappings.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--replace", is_flag=True, help="cut mappings that are in the way")
def import_(file: IO[str], *, replace: bool) -> None:
    """Put vehicles on meters as FILE says.

    None of them, where a line is invalid. A mapping that is there already stays as it is; one that
    another is in the way of is left out, unless --replace cuts that. Exit status 1: lines were
    invalid or left out.
    """
    with opened_database() as database:
        try:
            imported = import_mappings(database, file, replacing=replace, author=output.user())
        except UnreadableTable as error:
            raise click.ClickException(f"{file.name} {error}") from None
        except InvalidLines as error:
            _echo_problems(error.problems)
            raise click.ClickException("nothing was stored") from None
    _echo_problems(imported.conflicts)
    click.echo(
        f"{imported.outcomes['created']:,} mappings created, "
        f"{imported.outcomes['unchanged']:,} unchanged, {len(imported.conflicts):,} in conflict"
    )
    sys.exit(int(bool(imported.conflicts)))


def _echo_problems(problems: Sequence[str]) -> None:
    for problem in problems[:MOST_PROBLEMS]:
        click.echo(problem, err=True)
    if len(problems) > MOST_PROBLEMS:
        click.echo(f"and {len(problems) - MOST_PROBLEMS:,} more", err=True)
