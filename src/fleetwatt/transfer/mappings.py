"""The history of mappings as a table: who was on which meter, from when to when.

An empty validFrom means from the beginning, an empty validTo still.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING

from fleetwatt.schemas.mappings import MappingCursor, MappingRequest, described_span
from fleetwatt.schemas.paging import cut
from fleetwatt.streams import METER, VEHICLE
from fleetwatt.times import rfc3339
from fleetwatt.transfer.tables import InvalidLines, read_table, valid_lines, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetwatt.database.client import Database
    from fleetwatt.transfer.dialect import Dialect

IDS = ("vehicleId", "meterId")
COLUMNS = (*IDS, "validFrom", "validTo")
PAGE = 10_000  # mappings
BATCH = 1000  # mappings of a transaction


@dataclass(frozen=True)
class MappingLine:
    """A mapping, and the line of the file that it stands in."""

    line: int
    vehicle_id: str
    meter_id: str
    valid_from: datetime | None
    valid_to: datetime | None


@dataclass
class ImportedMappings:
    """What became of a file's mappings.

    Attributes:
        outcomes: How many were `created` and how many `unchanged`.
        conflicts: What is in the way of which other line, a sentence each.
        unknown: Devices, as meter:ID, that are neither registered nor have reported.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    conflicts: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def export_mappings(database: Database, file: IO[str]) -> int:
    """Write all mappings, by vehicle, the oldest first, and return how many there are."""
    return write_table(file, COLUMNS, _rows(database))


def _rows(database: Database) -> Iterator[Sequence[str]]:
    after: MappingCursor | None = None
    while True:
        rows = database.query(
            "mappings",
            vehicle_id=None,
            meter_id=None,
            after_vehicle=after and after.vehicle_id,
            after_start=after and after.valid_from,
            limit=PAGE + 1,
        )
        page, last = cut(rows, PAGE)
        for row in page:
            bounds = (row["valid_from"], row["valid_to"])
            yield (
                row["vehicle_id"],
                row["meter_id"],
                *(rfc3339(bound) if bound else "" for bound in bounds),
            )
        if last is None:
            return
        after = MappingCursor(last["vehicle_id"], last["valid_from"])


def import_mappings(
    database: Database, file: IO[str], dialect: Dialect, *, replacing: bool, author: str
) -> ImportedMappings:
    """Put vehicles on meters as a file says.

    By `replacing` what is in the way is cut; otherwise it is a conflict, and that line is left out.

    Raises:
        InvalidLines: Lines are no mappings; then nothing is stored.
        UnreadableTable: It is no table of mappings.
    """
    problems: list[str] = []
    lines = read_table(file, COLUMNS, IDS, dialect)
    mappings = [
        MappingLine(number, *(given[name] for name in COLUMNS))
        for number, given in valid_lines(lines, MappingRequest(), dialect, problems)
    ]
    if problems:
        raise InvalidLines(problems)
    # By vehicle, so that two imports at once wait for each other instead of one failing.
    mappings.sort(key=lambda mapping: mapping.vehicle_id)
    imported = ImportedMappings()
    for start in range(0, len(mappings), BATCH):
        some = mappings[start : start + BATCH]
        row = database.execute_once(
            "put_mappings",
            vehicle_ids=[mapping.vehicle_id for mapping in some],
            meter_ids=[mapping.meter_id for mapping in some],
            starts=[mapping.valid_from for mapping in some],
            ends=[mapping.valid_to for mapping in some],
            replacing=replacing,
            author=author,
        )
        assert row is not None  # noqa: S101 - it always answers
        results = zip(some, row["outcomes"], row["starts"], row["ends"], strict=True)
        for mapping, outcome, since, until in results:
            if outcome == "conflict":
                imported.conflicts.append(
                    f"line {mapping.line}: {mapping.vehicle_id} is on a meter "
                    f"{described_span(since, until)}"
                )
            else:
                imported.outcomes[outcome] += 1
    for stream, ids in (
        (METER, {mapping.meter_id for mapping in mappings}),
        (VEHICLE, {mapping.vehicle_id for mapping in mappings}),
    ):
        rows = database.query(f"{stream.name}.unknown_devices", ids=list(ids))
        imported.unknown += [f"{stream.name}:{row['id']}" for row in rows]
    return imported
