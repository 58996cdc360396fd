"""Stores readings of all streams by one statement, which is a transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from operator import eq, itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg2.extensions import TransactionRollbackError
from psycopg2.sql import SQL

from fleetwatt.database.pool import Row, fetch
from fleetwatt.observability.metrics import Outcome
from fleetwatt.streams import Rows

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

MAX_RETRIES = 5

ReadingKey = tuple[str, datetime]
# Id and time, which history holds once.
key_of = itemgetter(0, 1)


@dataclass(frozen=True)
class Inserted:
    """What became of a stream's sorted readings in one transaction.

    Attributes:
        new: Id and time of those that were not there before; None: of all.
        removed: Indexes of those that a correction keeps out.
        conflicts: By index the stored values of those that came with others, in the order of the
            stream's measures.
    """

    new: set[ReadingKey] | None = None
    removed: Sequence[int] = ()
    conflicts: Mapping[int, tuple[Any, ...]] = field(default_factory=dict)

    def outcome(self, size: int) -> Outcome:
        """Count what became of so many readings."""
        accepted = size if self.new is None else len(self.new)
        known = size - accepted - len(self.removed) - len(self.conflicts)
        return Outcome(accepted, known, len(self.conflicts))


def insert_rows(
    connection: Connection, queries: Mapping[str, str], batch: Sequence[Rows]
) -> list[Inserted]:
    """Store sorted readings in one transaction.

    A transaction that PostgreSQL gave up in favour of another (40P01, 40001) is retried.
    """
    # One statement is a transaction, and saves three round trips.
    statement = SQL(" UNION ALL ").join(SQL(queries[f"{rows.stream.name}.store"]) for rows in batch)
    arguments = {name: text for rows in batch for name, text in _arguments(rows)}
    for _ in range(MAX_RETRIES):
        with suppress(TransactionRollbackError):
            return list(map(_inserted, batch, fetch(connection, statement, arguments)))
        time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - no secret
    return list(map(_inserted, batch, fetch(connection, statement, arguments)))


def _inserted(rows: Rows, found: Row) -> Inserted:
    if found["positions"] is None:
        return Inserted()
    return Inserted(
        {key_of(rows.rows[position - 1]) for position in found["positions"]},
        [position - 1 for position in found["removed"]],
        {
            position - 1: tuple(stored[field.column] for field in rows.stream.measures)
            for position, stored in found["conflicts"] or ()
        },
    )


def _arguments(rows: Rows) -> Iterator[tuple[str, str | None]]:
    """Write what a stream's function takes: columns, and which readings are not a device's last.

    PostgreSQL's array literals read JSON's values the same. Nothing needs quoting: ids are of
    letters, digits and `._:*|@+-`, within quotes, all else is numbers and times.
    """
    columns = list(zip(*rows.rows, strict=True))
    for column, values in zip(rows.stream.columns, columns, strict=True):
        yield f"{rows.stream.name}_{column}", _array(values)
    older = list(map(eq, columns[0], columns[0][1:]))
    yield f"{rows.stream.name}_older", _array(older) if any(older) else None


def _array(values: Sequence[Any]) -> str:
    return f"{{{msgspec.json.encode(values)[1:-1].decode()}}}"
