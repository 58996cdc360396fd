"""How values are written for people: sizes, times, durations, tables."""

from __future__ import annotations

import getpass
import os
import sys
import threading
import time as clock
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fleetwatt import times

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

JSON = click.option("--json", "as_json", is_flag=True, help="print it as JSON")
PATIENCE = 2.0  # seconds for which a terminal shows nothing of what is under way


def chunks(counted: Mapping[str, Any]) -> str:
    """Write how many chunks were counted."""
    return "1 chunk" if counted["chunks"] == 1 else f"{counted['chunks']} chunks"


def size(count: float | None) -> str:
    """Write a number of bytes."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def time(moment: datetime | None, nothing: str = "-") -> str:
    """Write a time that is in UTC to the minute; `nothing` where there is none."""
    return nothing if moment is None else times.format_minute(moment).replace("T", " ")


def duration(span: timedelta | None, nothing: str = "-") -> str:
    """Write a duration; `nothing` where there is none."""
    return nothing if span is None else times.format_duration(span)


def echo_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, all others to the right."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for first, *others in lines:
        cells = [
            first.ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(others, widths[1:], strict=True)),
        ]
        click.echo("  ".join(cells).rstrip())


def seconds(span: timedelta | None) -> float | None:
    """Return a duration as JSON has it; None: there is none."""
    return None if span is None else span.total_seconds()


def echo_json(value: Any, *, err: bool = False) -> None:
    """Print a value as one line of JSON."""
    click.echo(_JSON_LINE.encode(value), err=err)


_JSON_LINE = msgspec.json.Encoder(decimal_format="number")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal how long something has been under way whose end can't be foreseen."""
    if not sys.stderr.isatty():
        yield
        return
    is_done = threading.Event()
    clock_line = threading.Thread(target=_show_clock, args=(what, is_done), daemon=True)
    clock_line.start()
    try:
        yield
    finally:
        is_done.set()
        clock_line.join()


def _show_clock(what: str, is_done: threading.Event) -> None:
    started, width = clock.monotonic(), 0
    while not is_done.wait(1 if width else PATIENCE):
        line = f"{what} … {clock.monotonic() - started:.0f} s"
        width = len(line)
        click.echo(f"\r{line}", nl=False, err=True)
    if width:
        click.echo(f"\r{' ' * width}\r", nl=False, err=True)


def user() -> str:
    """Return who runs the command; a container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
