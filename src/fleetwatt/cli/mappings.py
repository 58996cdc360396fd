"""The history of mappings in and out, as a table."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fleetwatt.cli import output
from fleetwatt.cli.database import opened_database
from fleetwatt.transfer.formats import STDIN, UnreadableFile
from fleetwatt.transfer.mappings import export_mappings, import_mappings
from fleetwatt.transfer.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PROBLEMS = 100  # that are listed


@click.group()
def mappings() -> None:
    """Move the history of mappings in and out.

    A table in CSV: vehicleId, meterId, validFrom, validTo. An empty validFrom is since ever, an
    empty validTo still. `-` is standard input or output.
    """


@mappings.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--force", is_flag=True, help="replace FILE where it is there")
def export_(file: str, *, force: bool) -> None:
    """Write all mappings to FILE, by vehicle, the oldest first."""
    with opened_database() as database:
        if file == STDIN:
            export_mappings(database, sys.stdout)
            return
        path = Path(file)
        if path.exists() and not force:
            raise click.ClickException(f"{file} is there already: --force replaces it")
        try:
            with new_table(path) as table:
                written = export_mappings(database, table)
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(f"{written:,} mappings in {file}")


@mappings.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--replace", is_flag=True, help="cut mappings that are in the way")
def import_(file: str, *, replace: bool) -> None:
    """Put vehicles on meters as FILE says.

    A mapping that is there already stays as it is; one that others are in the way of is rejected,
    unless --replace cuts those. Exit status 1: lines were rejected.
    """
    with opened_database() as database, _opened(file) as table:
        try:
            imported = import_mappings(database, table, replacing=replace, author=output.user())
        except UnreadableFile as error:
            raise click.ClickException(f"{file}: {error}") from None
    problems = sorted(imported.problems.items())
    for line, problem in problems[:MOST_PROBLEMS]:
        click.echo(f"line {line}: {problem}", err=True)
    if len(problems) > MOST_PROBLEMS:
        click.echo(f"and {len(problems) - MOST_PROBLEMS:,} more", err=True)
    click.echo(
        f"{imported.outcomes['created']:,} mappings created, "
        f"{imported.outcomes['unchanged']:,} unchanged, {len(problems):,} rejected"
    )
    sys.exit(int(bool(problems)))


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    """Open a file as text; spreadsheets begin UTF-8 with a byte order mark."""
    if file == STDIN:
        with io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline="") as table:
            yield table
        return
    with Path(file).open(encoding="utf-8-sig", newline="") as table:
        yield table
