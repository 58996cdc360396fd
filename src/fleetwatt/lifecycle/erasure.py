"""Erasure: all that is known of a device is removed, without a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetwatt.database.client import Database
    from fleetwatt.streams import Stream

# What may be known of a device, by the columns that count it.
TRACES = {
    "readings": "readings",
    "hours": "hours of aggregates",
    "latest": "latest reading",
    "mappings": "mappings",
    "mapping_changes": "changes of mappings",
    "entries": "entry in the register",
    "corrections": "corrections",
}


def traces(database: Database, stream: Stream, device: str) -> dict[str, int]:
    """Return how much is known of a device, by the columns of `TRACES`; what is not is left out."""
    counted = database.query_one(f"{stream.name}.traces", device=device) or {}
    return {name: counted[name] for name in TRACES if counted.get(name)}


def erase(database: Database, stream: Stream, device: str) -> None:
    """Remove all of it, in one transaction; the caller needs the right to delete history."""
    database.execute_once(f"{stream.name}.erase", device=device)
