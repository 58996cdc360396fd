"""How values look for people, and how they write durations and ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from fleetwatt import times
from fleetwatt.streams import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta


class Duration(click.ParamType["timedelta"]):
    """A duration as 30s, 5m, 12h, 90d or 2w, of a least length."""

    name = "duration"

    def __init__(self, least: timedelta = times.UNITS["s"]) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it; what can't be one is told how it is written."""
        try:
            return times.parse_duration(value, self._least)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Device(click.ParamType[str]):
    """The id of a meter or a vehicle."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take an id that a device may have."""
        if not re.fullmatch(ID_PATTERN, value):
            self.fail(
                f"{value!r} can't be a device's id: 1 to 64 of A-Z a-z 0-9 . _ : -, a letter or "
                "digit first",
                param,
                ctx,
            )
        return value


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
    return nothing if moment is None else f"{moment:%Y-%m-%d %H:%MZ}"


def duration(span: timedelta | None, nothing: str = "-") -> str:
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
