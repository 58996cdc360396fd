"""The storage report: tables, their sizes, their policies, and the rules that do not hold."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleetwatt.lifecycle import policies
from fleetwatt.lifecycle.policies import Breach
from fleetwatt.streams import STREAMS
from fleetwatt.times import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

# By its table, the query for the times between which it holds something.
SPANS = {
    table: f"{stream.name}.{query}"
    for stream in STREAMS
    for table, query in zip(stream.tables, ("history_span", "hourly_span"), strict=True)
}
ORDER = list(SPANS)


def report(database: Database) -> dict[str, Any]:
    """Return the report, as `fleetwatt db status` and GET /v1/admin/storage show it."""
    rows = database.query("policies")
    kept = policies.read(database).values()
    now = datetime.now(UTC)
    return {
        **(database.query_one("server") or {}),
        "tables": [_table(database, row) for row in ordered(database.query("stored_tables"))],
        "policies": [row | {"does": _does(row)} for row in ordered(rows)],
        "warnings": [
            asdict(breach)
            for breach in (
                *(
                    breach
                    for of_stream in kept
                    for breach in policies.breaches(of_stream, database.lateness, now)
                ),
                *_failing(rows),
            )
        ],
    }


def ordered(rows: list[Row]) -> list[Row]:
    """Sort by table, in the order of the streams; tables that are not fleetwatt's stay out."""
    ours = [row for row in rows if row["table_name"] in SPANS]
    return sorted(ours, key=lambda row: ORDER.index(row["table_name"]))


def _table(database: Database, row: Row) -> Row:
    rows = row["rows"]
    return {
        **row,
        **(database.query_one(SPANS[row["table_name"]]) or {}),
        "kind": "history" if row["table_name"] in policies.HISTORIES else "aggregate",
        "bytes_a_row": round(row["bytes"] / rows, 1) if rows else None,
        "bytes_a_row_uncompressed": round(row["bytes_uncompressed"] / rows, 1) if rows else None,
    }


def _does(row: Row) -> str:
    """Return in words what a policy does."""
    if row["kind"] == "refresh":
        start, end = row["start_offset"], row["end_offset"]
        reach = "ever" if start is None else f"{format_duration(start)} ago"
        return f"refresh from {reach} to {format_duration(end) + ' ago' if end else 'now'}"
    if row["after"] is None:
        return f"{row['kind']} by another measure than age"
    verb = "drop" if row["kind"] == "retention" else "compress"
    guarded = verb == "drop" and row["guarded"] and row["job_id"] is not None
    first = ", refreshed first" if guarded and row["table_name"] in policies.HISTORIES else ""
    return f"{verb} chunks older than {format_duration(row['after'])}{first}"


def _failing(rows: list[Row]) -> Iterator[Breach]:
    for row in rows:
        if row["last_status"] == "Failed":
            yield Breach(
                "job-succeeds",
                row["table_name"],
                f"the last run of {row['kind']} of {row['table_name']} failed: {row['last_error']}",
            )
