"""How a CSV file writes its cells: delimiter, decimal mark, times, and names of columns."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetwatt.streams import TIMESTAMP
from fleetwatt.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class BadLine(Exception):
    """A line can't be a reading; `field` is the one at fault, None for all of it."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written, and what it lacks.

    Attributes:
        delimiter: What stands between cells.
        decimal: What stands before the decimals of a number.
        time_format: How times are written, as `datetime.strptime` has it; None: as ISO 8601.
        zone: Where the clock is that times without an offset are read from; None: they need one.
        columns: A field for each column of another name; an empty one leaves the column out.
        constants: A value for each field that no column has; `null`: unknown.
        increments: Whether the energy of a line is what was added since the device's line before.
    """

    delimiter: str = ","
    decimal: str = "."
    time_format: str | None = None
    zone: ZoneInfo | None = None
    columns: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    increments: bool = False

    @property
    def reads_times(self) -> bool:
        """Whether a time has to be read here, since a reading is not sent with it as it stands."""
        return bool(self.time_format or self.zone or self.increments)

    def cells(self, line: bytes) -> list[str]:
        """Return the cells of a line.

        Line by line: no field of a reading can hold a line break, and so a quote that is never
        closed costs its own line alone.

        Raises:
            BadLine: It is not CSV.
        """
        try:
            return next(csv.reader([line.decode()], delimiter=self.delimiter, strict=True), [])
        except UnicodeDecodeError:
            raise BadLine("is not UTF-8") from None
        except csv.Error as error:
            raise BadLine(f"is not CSV: {error}") from None

    def time(self, cell: str) -> datetime:
        """Return the moment that a cell says, in UTC.

        Raises:
            BadLine: It is none, or the clock of the zone shows it never, or twice.
        """
        try:
            time = self._written(cell)
            if time.tzinfo is not None:
                return time.astimezone(UTC)
            if self.zone is not None:
                return _moment(time, self.zone)
        except OverflowError:
            raise BadLine(f"{cell!r} is out of range", TIMESTAMP.name) from None
        raise BadLine(
            f"{cell!r} has no offset from UTC: say by --tz which time zone it is of",
            TIMESTAMP.name,
        )

    def _written(self, cell: str) -> datetime:
        try:
            if self.time_format is not None:
                return datetime.strptime(cell, self.time_format)  # noqa: DTZ007 - the zone follows
            return datetime.fromisoformat(cell)
        except ValueError:
            form = self.time_format
            reason = (
                f"{cell!r} is not written as --time-format says, {form}"
                if form is not None
                else f"{cell!r} is no time as 2026-01-31T00:00: --time-format reads others"
            )
            raise BadLine(reason, TIMESTAMP.name) from None


def _moment(time: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment at which the clock of a zone shows a time."""
    first, second = (time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first > second:
        raise BadLine(f"The clock of {zone.key} jumped over {time}.", TIMESTAMP.name)
    if first < second:
        raise BadLine(
            f"The clock of {zone.key} showed {time} twice, at {rfc3339(first)} and at "
            f"{rfc3339(second)}: write it with its offset.",
            TIMESTAMP.name,
        )
    return first


def number_reader(decimal: str) -> Callable[[str], str | None]:
    """Return what writes a cell as a number of JSON, or returns None where it is none.

    Leading zeros, a leading plus and a leading or trailing decimal mark may be there.
    """
    written = re.compile(
        rf"([+-]?)(\d*)(?:{re.escape(decimal)}(\d*))?([eE][+-]?\d+)?", re.ASCII
    ).fullmatch

    def read(cell: str) -> str | None:
        if decimal == "." and _JSON_NUMBER.fullmatch(cell):
            return cell
        found = written(cell)
        if not found or not (found[2] or found[3]):
            return None
        sign = "-" if found[1] == "-" else ""
        decimals = f".{found[3]}" if found[3] else ""
        return f"{sign}{found[2].lstrip('0') or '0'}{decimals}{found[4] or ''}"

    return read
