"""How much time a chunk should hold: as much as the memory for its indexes allows.

Every insert looks into the indexes of the chunks that are written to: they should stay in
shared_buffers together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fleetwatt.lifecycle.policies import HISTORIES
from fleetwatt.streams import STREAMS

if TYPE_CHECKING:
    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

# Those that days and weeks are whole numbers of, so that chunks begin where days do.
GOOD = [timedelta(hours=hours) for hours in (1, 2, 3, 4, 6, 8, 12, 24, 48, 168)]


@dataclass(frozen=True)
class Advice:
    """What the indexes of the active chunks take, and the interval that would let them fit.

    Attributes:
        indexes: Bytes that the indexes of a whole chunk take, by table, as far as known.
        shared_buffers: Bytes that they may take together.
        fitting: For tables whose interval should be shorter, the longest that would do.
    """

    indexes: dict[str, float]
    shared_buffers: int
    fitting: dict[str, timedelta]

    @property
    def taken(self) -> float:
        return sum(self.indexes.values())


def advise(database: Database) -> Advice:
    """Compare the indexes of the active chunks with shared_buffers."""
    server = database.query_one("server")
    shared_buffers = server["shared_buffers"] if server else 0
    ours = {table for stream in STREAMS for table in stream.tables}
    intervals = {
        row["table_name"]: row["chunk_interval"]
        for row in database.query("stored_tables")
        if row["table_name"] in ours
    }
    typical = _typical_chunks(database.query("stored_chunks", table=None))
    indexes = {
        table: row["index_bytes"] * (intervals[table] / (row["range_end"] - row["range_start"]))
        for table, row in typical.items()
        if table in intervals
    }
    share = shared_buffers / max(sum(indexes.values()), 1)
    fitting = {
        table: max(
            (interval for interval in GOOD if interval <= intervals[table] * share), default=GOOD[0]
        )
        for table in indexes
        if share < 1 and intervals[table] > GOOD[0] and table in HISTORIES
    }
    return Advice(indexes, shared_buffers, fitting)


def _typical_chunks(chunks: list[Row]) -> dict[str, Row]:
    """Return each table's newest chunk that is over, or else its newest, in rowstore."""
    now = datetime.now(UTC)
    typical: dict[str, Row] = {}
    for row in chunks:  # oldest first
        table = row["table_name"]
        if not row["compressed"] and (row["range_end"] <= now or table not in typical):
            typical[table] = row
    return typical
