"""Where exports go: a new file, or standard output."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fleetwatt.cli import output
from fleetwatt.transfer.new_file import FileIsThere, new_file

if TYPE_CHECKING:
    from collections.abc import Iterator

STDOUT = "-"
FILE = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
FORCE = click.option("--force", is_flag=True, help="replace FILE where it is there")


@contextmanager
def opened(file: str, *, force: bool) -> Iterator[IO[bytes]]:
    """Open a new file, or standard output as `-`; what can't be opened ends the command."""
    if file == STDOUT:
        yield sys.stdout.buffer
        return
    try:
        with new_file(Path(file), force=force) as new:
            yield new
    except FileIsThere as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        # No such folder, no right to write there, a disk that is full.
        raise click.ClickException(f"{error.filename or file}: {error.strerror}") from None


@contextmanager
def opened_table(file: str, *, force: bool) -> Iterator[IO[str]]:
    """Open the same for text."""
    with opened(file, force=force) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        try:
            yield text
        finally:
            # The caller opened it, and closes it.
            text.detach()


def say(count: int, what: str, file: str, *, as_json: bool) -> None:
    """Say how much was exported: on stderr where standard output is the export."""
    is_stdout = file == STDOUT
    if as_json:
        output.echo_json({what: count, "file": file}, err=is_stdout)
    else:
        click.echo(f"{count:,} {what} in {file}", err=is_stdout)
