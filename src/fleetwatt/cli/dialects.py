"""The options that say how a CSV file is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from fleetwatt.cli import parameters
from fleetwatt.transfer.dialect import Dialect

Command = TypeVar("Command", bound=Callable[..., Any])


def _delimiter(_: click.Context, _parameter: click.Parameter, value: str) -> str:
    delimiter = {"tab": "\t", r"\t": "\t"}.get(value, value)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise click.BadParameter(f"{value!r} is no single character, nor the word tab")
    return delimiter


def _time_format(_: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            datetime.strptime(datetime.now(UTC).strftime(value), value)  # noqa: DTZ007 - unused
        except ValueError as error:
            raise click.BadParameter(f"{error}: write it as %d.%m.%Y %H:%M") from None
    return value


_OPTIONS = (
    click.option(
        "--delimiter",
        callback=_delimiter,
        default=",",
        show_default=True,
        help="what stands between cells, as ; or tab",
    ),
    click.option(
        "--decimal",
        type=click.Choice([".", ","]),
        default=".",
        show_default=True,
        help="what stands before the decimals of a number",
    ),
    click.option(
        "--time-format",
        callback=_time_format,
        help="how times are written, as '%d.%m.%Y %H:%M'  [RFC 3339]",
    ),
    click.option(
        "--tz",
        "zone",
        type=parameters.Zone(),
        help="time zone of times without an offset, as Europe/Berlin",
    ),
    click.option(
        "--column",
        "columns",
        multiple=True,
        type=parameters.Pair("COLUMN=FIELD"),
        metavar="COLUMN=FIELD",
        help="field that a column of another name holds; COLUMN= leaves it out; may be repeated",
    ),
    click.option(
        "--set",
        "constants",
        multiple=True,
        type=parameters.Pair("FIELD=VALUE"),
        metavar="FIELD=VALUE",
        help="value of a field that has no column; null: unknown; may be repeated",
    ),
)


def options(command: Command) -> Command:
    """Give a command the options that say how a CSV file is written."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def dialect(written: Mapping[str, Any], fields: Set[str], none_has: str) -> Dialect:
    """Make a dialect of what the options say.

    Args:
        written: The options' values.
        fields: What may be renamed or set.
        none_has: Begins the message about another field, as `no reading has`.
    """
    made = Dialect(**written)
    if made.delimiter == made.decimal:
        raise click.UsageError("--decimal , needs another --delimiter, as --delimiter ';'")
    renamed = {field for _, field in made.columns if field}
    constant = {field for field, _ in made.constants}
    for option, unfit in (("--column", renamed - fields), ("--set", constant - fields)):
        if unfit:
            raise click.BadParameter(f"{none_has} {', '.join(unfit)}", param_hint=option)
    return made
