"""The types of parameters that several commands take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fleetwatt import calendar, times
from fleetwatt.streams import ID_RULE, STREAMS, Stream, is_id

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo


class Duration(click.ParamType["timedelta"]):
    """A duration as 30s, 5m, 12h, 90d or 2w, of a least length."""

    name = "duration"

    def __init__(self, least: timedelta = times.SECOND) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read a duration; the message says how one is written."""
        try:
            return times.parse_duration(value, self._least)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType["datetime"]):
    """A time as RFC 3339 has it, or a date; without an offset it is UTC."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read a time; the message says how one is written."""
        try:
            return times.parse_time(value, UTC)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Zone(click.ParamType["ZoneInfo"]):
    """A time zone by its IANA name."""

    name = "zone"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ZoneInfo:
        """Take a zone that there is."""
        try:
            return calendar.zone(value)
        except KeyError:
            self.fail(f"{value!r} is no IANA time zone, as Europe/Berlin is one", param, ctx)


class Pair(click.ParamType["tuple[str, str]"]):
    """A name and a value as NAME=VALUE; the parts are named in the message."""

    name = "pair"

    def __init__(self, form: str) -> None:
        self._form = form

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the last =, since no field has one in its name."""
        name, separator, rest = value.rpartition("=")
        if not separator or not name:
            self.fail(f"{value!r} is not {self._form}", param, ctx)
        return name, rest


class Id(click.ParamType[str]):
    """The id of a meter or a vehicle."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take an id that a device may have."""
        if not is_id(value):
            self.fail(f"{value!r} can't be a device's id, which is {ID_RULE}", param, ctx)
        return value


class StreamDevice(click.ParamType["tuple[Stream, str]"]):
    """A device with its kind, as meter:M-123 or vehicle:V-999."""

    name = "device"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Stream, str]:
        """Take a kind that there is and an id that a device may have."""
        kind, _, device = value.partition(":")
        stream = next((stream for stream in STREAMS if stream.name == kind), None)
        if stream is None:
            kinds = " or ".join(f"{stream.name}:ID" for stream in STREAMS)
            self.fail(f"{value!r} is no device: write {kinds}", param, ctx)
        return stream, Id().convert(device, param, ctx)
