"""The program around the commands: its errors are lines that begin with its name."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fleetwatt.config import ConfigError, misspelt
from fleetwatt.database.errors import DatabaseError, SchemaBehind, Unavailable
from fleetwatt.embedded.database import EmbeddedDatabaseError
from fleetwatt.embedded.node import NodeError
from fleetwatt.messaging.errors import MessagingError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "fleetwatt"
KNOWN = (ConfigError, EmbeddedDatabaseError, NodeError, DatabaseError, MessagingError)


class Program(click.Group):
    """A group of commands that reports each error in one way."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; an error is a line on stderr, and an exit status."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        try:
            status = super().main(args, prog_name, complete_var, False, **extra)
        except click.exceptions.NoArgsIsHelpError as no_arguments:
            no_arguments.show()
            sys.exit(no_arguments.exit_code)
        except click.UsageError as error:
            if error.ctx:
                click.echo(error.ctx.get_usage(), err=True)
            hint = f" (see {error.ctx.command_path} -h)" if error.ctx else ""
            # Some messages list what may be chosen from on lines of its own.
            end(f"{' '.join(error.format_message().split())}{hint}", error.exit_code)
        except click.ClickException as error:
            end(error.format_message(), error.exit_code)
        except click.Abort:
            end("stopped", 1)
        except KNOWN as error:
            is_away = isinstance(error, Unavailable) and not isinstance(error, SchemaBehind)
            end(f"{'FLEETWATT_DATABASE_URL: ' if is_away else ''}{error}", 1)
        sys.exit(status if isinstance(status, int) else 0)


def warn_of_misspelt() -> None:
    """Name the variables that look like settings and are none.

    They are taken out of this process's environment: programs that it starts don't name them again.
    """
    for variable, warning in misspelt(os.environ).items():
        click.echo(f"{NAME}: {warning}", err=True)
        del os.environ[variable]


def end(message: str, status: int) -> NoReturn:
    """End this process with a line that says why."""
    click.echo(f"{NAME}: {message}", err=True)
    sys.exit(status)
