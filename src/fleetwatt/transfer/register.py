"""The register as CSV: a line an entry, its fields named as the routes name them.

An empty cell is a field that is left out, and so at its default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import marshmallow as ma

from fleetwatt.calendar import DEFAULT_ZONE
from fleetwatt.lifecycle import register
from fleetwatt.schemas.devices import DeviceEntry, SiteEntry
from fleetwatt.schemas.fields import Identifier
from fleetwatt.streams import STREAMS
from fleetwatt.transfer.tables import InvalidLines, read_table, valid_lines, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row
    from fleetwatt.transfer.dialect import Dialect

Entry = Mapping[str, Any]


class _DeviceLine(DeviceEntry):
    stream = ma.fields.String(
        required=True, validate=ma.validate.OneOf([stream.name for stream in STREAMS])
    )
    id = Identifier(required=True)


class _SiteLine(SiteEntry):
    id = Identifier(required=True)


@dataclass(frozen=True)
class Part:
    """A part of the register: all devices, or all sites.

    Attributes:
        keys: The columns of a file that name an entry.
        columns: All of them, in the order in which they are written.
        line: Checks a line.
        stored: Returns all entries of a database, in order.
        put: Makes or replaces entries, all or none.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    line: ma.Schema
    stored: Callable[[Database], list[Row]]
    put: Callable[[Database, Sequence[Entry]], Row]

    def key(self, entry: Entry) -> tuple[str, ...]:
        return tuple(entry[name] for name in self.keys)

    def database_columns(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each column in a file, and in the database."""
        for name in self.columns:
            yield name, self.line.fields[name].attribute or name


def _sites(database: Database) -> list[Row]:
    return database.query("sites_page", after=None, limit=None)


def _devices(database: Database) -> list[Row]:
    return [
        row
        for stream in STREAMS
        for row in database.query(
            "devices_page", stream=stream.name, site=None, id=None, after=None, limit=None
        )
    ]


DEVICES = Part(
    keys=("stream", "id"),
    columns=("stream", "id", "name", "site", "intervalSeconds", "maxKw"),
    line=_DeviceLine(),
    stored=_devices,
    put=register.put_devices,
)
SITES = Part(
    keys=("id",),
    columns=("id", "name", "timeZone"),
    line=_SiteLine(),
    stored=_sites,
    put=register.put_sites,
)


def write(part: Part, entries: Sequence[Row], file: IO[str]) -> None:
    """Write entries as CSV."""
    columns = [column for _, column in part.database_columns()]
    write_table(file, part.columns, ([entry[column] for column in columns] for entry in entries))


def read(part: Part, file: IO[str], dialect: Dialect) -> list[Entry]:
    """Read the entries of a CSV file, by their columns in the database.

    Raises:
        InvalidLines: Lines are no entries, or name one that an earlier line names.
        UnreadableTable: It is no CSV file with the columns of this part.
    """
    lines = read_table(file, part.columns, part.keys, dialect)
    problems: list[str] = []
    entries: dict[tuple[str, ...], Entry] = {}
    for number, entry in valid_lines(lines, part.line, dialect, problems):
        if part.key(entry) in entries:
            problems.append(f"line {number}: an earlier line is about the same")
        entries[part.key(entry)] = entry
    if problems:
        raise InvalidLines(problems)
    return list(entries.values())


@dataclass(frozen=True)
class Changes:
    """What an import does.

    Attributes:
        entries: Those that are new or change.
        created: How many are new.
        unchanged: How many are as they were.
    """

    entries: list[Entry]
    created: int
    unchanged: int


def changes(database: Database, part: Part, entries: Sequence[Entry]) -> Changes:
    """Compare entries with those that are stored."""
    before = {part.key(row): row for row in part.stored(database)}
    columns = [column for _, column in part.database_columns()]
    changed = [
        entry
        for entry in entries
        if part.key(entry) not in before
        or any(_told(column, entry) != before[part.key(entry)][column] for column in columns)
    ]
    created = sum(part.key(entry) not in before for entry in changed)
    return Changes(changed, created, len(entries) - len(changed))


def _told(column: str, entry: Entry) -> Any:
    """Return what a column holds once an entry is stored."""
    return entry.get(column) or (DEFAULT_ZONE if column == "time_zone" else None)


def unknown_sites(database: Database, entries: Sequence[Entry]) -> list[str]:
    """Return the sites that devices name and that are not there."""
    known = {row["id"] for row in SITES.stored(database)}
    return sorted({entry["site"] for entry in entries if entry.get("site")} - known)
