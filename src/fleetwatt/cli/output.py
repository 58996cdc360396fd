"""How values are written for people: sizes, times, durations, tables."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

import click

from fleetwatt import times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta


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


def user() -> str:
    """Return who runs the command; a container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
