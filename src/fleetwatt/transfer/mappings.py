"""The history of mappings as a table: who was on which meter, from when to when.

An empty validFrom is since ever, an empty validTo still.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING

import marshmallow as ma

from fleetwatt.schemas.mappings import MappingCursor, MappingRequest, described_span
from fleetwatt.schemas.paging import cut
from fleetwatt.times import rfc3339
from fleetwatt.transfer.tables import read_table, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetwatt.database.client import Database

IDS = ("vehicleId", "meterId")
BOUNDS = ("validFrom", "validTo")
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
        problems: Why the others were rejected, by line.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)


def export_mappings(database: Database, file: IO[str]) -> int:
    """Write all mappings, by vehicle, the oldest first, and return how many there are."""
    return write_table(file, (*IDS, *BOUNDS), _rows(database))


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
    database: Database, file: IO[str], *, replacing: bool, author: str
) -> ImportedMappings:
    """Put vehicles on meters as a file says.

    By `replacing` what is in the way is cut; otherwise it is a problem of the line.

    Raises:
        UnreadableFile: It is no table of mappings.
    """
    imported = ImportedMappings()
    # By vehicle, so that two imports at once wait for each other instead of one failing.
    mappings = sorted(_valid(file, imported.problems), key=lambda mapping: mapping.vehicle_id)
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
                imported.problems[mapping.line] = (
                    f"{mapping.vehicle_id} is on a meter {described_span(since, until)}"
                )
            else:
                imported.outcomes[outcome] += 1
    return imported


def _valid(file: IO[str], problems: dict[int, str]) -> Iterator[MappingLine]:
    """Yield the valid mappings of a file, and note why the others are none."""
    schema = MappingRequest()
    for line, cells in read_table(file, IDS, BOUNDS):
        try:
            given = schema.load({name: cell for name, cell in cells.items() if cell})
        except ma.ValidationError as error:
            problems[line] = "; ".join(
                f"{name}: {' '.join(messages)}" for name, messages in error.messages_dict.items()
            )
        else:
            yield MappingLine(line, *(given[name] for name in (*IDS, *BOUNDS)))
