"""Confirmation: a command shows what it would change, then asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

Command = TypeVar("Command", bound="Callable[..., Any]")


def changing(command: Command) -> Command:
    """Give a command the options `--yes` and `--dry-run`."""
    dry_run = click.option("--dry-run", is_flag=True, help="show it and change nothing")
    return click.option("--yes", is_flag=True, help="do it without asking")(dry_run(command))


def confirm(*, yes: bool, dry_run: bool) -> bool:
    """Return whether to make the change; the answer no ends the command."""
    if dry_run:
        click.echo("Nothing was changed.")
        return False
    return yes or click.confirm("Do it?", abort=True)
