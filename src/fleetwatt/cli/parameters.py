"""The types of parameters that several commands take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from fleetwatt import times
from fleetwatt.streams import ID_PATTERN, ID_RULE

if TYPE_CHECKING:
    from datetime import timedelta


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
            self.fail(f"{value!r} can't be a device's id, which is {ID_RULE}", param, ctx)
        return value
