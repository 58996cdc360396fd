"""One transaction for the readings of several requests, and what became of those of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from fleetwatt.database.insert import Inserted, key_of
from fleetwatt.streams import Rows, Stream

if TYPE_CHECKING:
    from collections.abc import Container

    from fleetwatt.database.insert import ReadingKey

_ID, _TIME = itemgetter(0), itemgetter(1)
Insert = Callable[[Sequence[Rows]], list[Inserted]]


@dataclass(frozen=True)
class Conflict:
    """A reading that came with other values than those stored under its id and time.

    Attributes:
        stream: The reading's stream.
        index: Which reading of the stream in what was written, from 0.
        stored: The stored values, in the order of the stream's measures.
    """

    stream: Stream
    index: int
    stored: tuple[Any, ...]


@dataclass(frozen=True)
class WriteResult:
    """What became of readings.

    Attributes:
        accepted: How many were stored now.
        duplicates: How many were stored already, with the same values.
        conflicts: Those that were stored already, with other values.
        removed: Stream and index of those that a correction keeps out.
    """

    accepted: int
    duplicates: int
    conflicts: Sequence[Conflict] = ()
    removed: Sequence[tuple[Stream, int]] = ()


def insert_together(insert: Insert, batches: Sequence[Sequence[Rows]]) -> list[WriteResult]:
    """Store the readings of several requests, and return what became of those of each.

    Args:
        insert: Stores sorted rows in one transaction and returns what became of each stream's.
        batches: Of each request its readings.
    """
    together = _merged(batches)
    # In one order, so that two writers never deadlock.
    streams = sorted(together, key=attrgetter("name"))
    inserted = dict(zip(streams, insert([together[stream] for stream in streams]), strict=True))
    # The rows of a batch are the very objects that were merged.
    conflicts = {
        id(together[stream].rows[index]): stored
        for stream, done in inserted.items()
        for index, stored in done.conflicts.items()
    }
    removed = {
        id(together[stream].rows[index])
        for stream, done in inserted.items()
        for index in done.removed
    }
    results = []
    for batch in batches:
        accepted = sum(_claim(rows, inserted[rows.stream].new) for rows in batch)
        own_conflicts = tuple(
            Conflict(rows.stream, index, conflicts[id(rows.rows[index])])
            for rows, index in _found(batch, conflicts)
        )
        own_removed = tuple((rows.stream, index) for rows, index in _found(batch, removed))
        duplicates = sum(map(len, batch)) - accepted - len(own_conflicts) - len(own_removed)
        results.append(WriteResult(accepted, duplicates, own_conflicts, own_removed))
    return results


def _merged(batches: Sequence[Sequence[Rows]]) -> dict[Stream, Rows]:
    """Merge the rows of a stream, by id and time; of equal readings the first to come is first."""
    together: dict[Stream, Rows] = {}
    for batch in batches:
        for rows in batch:
            together.setdefault(rows.stream, Rows(rows.stream)).rows.extend(rows.rows)
    for merged in together.values():
        # Each by one value, which takes a quarter of the time of pairs.
        merged.rows.sort(key=_TIME)
        merged.rows.sort(key=_ID)
    return together


def _found(batch: Sequence[Rows], identities: Container[int]) -> Iterator[tuple[Rows, int]]:
    """Yield the rows and the index of each reading of a batch that is among some."""
    if not identities:
        return
    for rows in batch:
        for index, row in enumerate(rows.rows):
            if id(row) in identities:
                yield rows, index


def _claim(rows: Rows, new: set[ReadingKey] | None) -> int:
    """Count the readings that are new, and take them out of `new`: a repetition is not new."""
    if new is None:
        return len(rows)
    mine = new.intersection(map(key_of, rows.rows))
    new -= mine
    return len(mine)
