"""What is wrong with valid readings that the database did not take as they came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetwatt.faults import Fault
from fleetwatt.streams import TIMESTAMP

if TYPE_CHECKING:
    from fleetwatt.database.shared_transaction import Conflict, WriteResult
    from fleetwatt.ingestion.decode import Parsed

REMOVED = "A correction has removed this reading; undo the correction to store it again."
CONFLICT = "Another value is stored under this id and time"


def faults(parsed: Parsed, written: WriteResult, *, show_stored: bool) -> Iterator[Fault]:
    """Yield what is wrong with the readings that a correction keeps out, and with conflicts.

    Args:
        parsed: The request's readings.
        written: What became of them.
        show_stored: Whether the stored values may be shown.
    """
    if not written.removed and not written.conflicts:
        return
    indexes = parsed.indexes()
    for stream, position in written.removed:
        yield Fault(indexes[stream][position], TIMESTAMP.name, REMOVED)
    rows = {stream_rows.stream: stream_rows.rows for stream_rows in parsed.rows}
    for conflict in written.conflicts:
        row = rows[conflict.stream][conflict.index]
        index = indexes[conflict.stream][conflict.index]
        yield from _differences(index, row[2:], conflict, show_stored=show_stored)


def _differences(
    index: int, came: tuple[float | None, ...], conflict: Conflict, *, show_stored: bool
) -> Iterator[Fault]:
    for field, given, stored in zip(conflict.stream.measures, came, conflict.stored, strict=True):
        if given != stored:
            value = f": {'null' if stored is None else float(stored)}" if show_stored else ""
            yield Fault(index, field.name, f"{CONFLICT}{value}.")
