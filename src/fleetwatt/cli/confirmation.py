"""Confirmation: a command shows what it would change, then asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from fleetwatt.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable

Command = TypeVar("Command", bound="Callable[..., Any]")


def changing(command: Command) -> Command:
    """Give a command the options `--yes`, `--dry-run` and `--json`."""
    dry_run = click.option("--dry-run", is_flag=True, help="show it and change nothing")
    yes = click.option("--yes", is_flag=True, help="do it without asking")
    return yes(dry_run(output.JSON(command)))


def confirm(*, yes: bool, dry_run: bool, as_json: bool) -> bool:
    """Return whether to make the change; the answer no ends the command.

    With JSON on standard output, what is said and asked goes to stderr.
    """
    if dry_run:
        click.echo("Nothing was changed.", err=as_json)
        return False
    return yes or click.confirm("Do it?", abort=True, err=as_json)
