"""The history of mappings in and out, as a table."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import click

from fleetwatt.cli import dialects, exports, output
from fleetwatt.cli.database import opened_database
from fleetwatt.transfer.mappings import COLUMNS, export_mappings, import_mappings
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
@output.JSON
def export_(file: str, *, force: bool, as_json: bool) -> None:
    """Write all mappings to FILE, by vehicle, the oldest first."""
    with opened_database() as database, exports.opened_table(file, force=force) as table:
        written = export_mappings(database, table)
    exports.say(written, "mappings", file, as_json=as_json)


@mappings.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--replace", is_flag=True, help="cut mappings that are in the way")
@dialects.options
@output.JSON
def import_(file: IO[str], *, replace: bool, as_json: bool, **written: Any) -> None:
    """Put vehicles on meters, by FILE.

    None of them, where a line is invalid. A mapping that is there already stays as it is; one that
    another is in the way of is left out, unless --replace cuts that. Devices that are neither
    registered nor have reported are named: they may be misspelt. The options from --delimiter on
    say how the file is written. The exit status is 1 if lines were invalid or left out.
    """
    dialect = dialects.dialect(written, set(COLUMNS), "no mapping has")
    with opened_database() as database, output.working("Importing"):
        try:
            imported = import_mappings(
                database, file, dialect, replacing=replace, author=output.user()
            )
        except UnreadableTable as error:
            raise click.ClickException(f"{file.name} {error}") from None
        except InvalidLines as error:
            _echo_problems(error.problems)
            raise click.ClickException("nothing was stored") from None
    _echo_problems(imported.conflicts)
    if imported.unknown:
        click.echo(
            f"Warning: neither registered nor heard of yet: "
            f"{', '.join(imported.unknown[:MOST_PROBLEMS])}"
            + (" …" if len(imported.unknown) > MOST_PROBLEMS else ""),
            err=True,
        )
    if as_json:
        output.echo_json(
            {
                "created": imported.outcomes["created"],
                "unchanged": imported.outcomes["unchanged"],
                "conflicts": imported.conflicts,
                "unknown": imported.unknown,
            }
        )
        sys.exit(int(bool(imported.conflicts)))
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
