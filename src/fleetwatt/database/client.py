"""The database, as all other packages use it.

`Database` runs the named queries of sql/: `query` and `query_one` read, `execute_once` changes
something. `write` stores readings. None of psycopg2's errors leaves it: they become those of
errors.py.
"""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import parse_dsn

from fleetwatt.config import netloc
from fleetwatt.database import abandoned, queries
from fleetwatt.database.errors import Unanswered, is_lost, translated
from fleetwatt.database.insert import insert_rows
from fleetwatt.database.pool import Pool, Row, Share, connect, cut_unanswered, fetch
from fleetwatt.database.replica import Replica, ReplicaAway
from fleetwatt.database.schema import editions, migrations
from fleetwatt.database.write_queue import WriteQueue
from fleetwatt.observability import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg2.extensions import connection as Connection

    from fleetwatt.config import Config
    from fleetwatt.database.insert import Inserted
    from fleetwatt.database.shared_transaction import WriteResult
    from fleetwatt.streams import Rows, Stream

T = TypeVar("T")
# Late enough after year 1 to be converted between time zones.
BEGINNING = datetime(2, 1, 1, tzinfo=UTC)
_A_DAY = 86_400.0  # seconds
# Seconds past statement_timeout that a server has to say that a statement was too long.
_GRACE = 5.0
_RETENTION_KEPT = 5.0  # seconds for which an answer about retention is used again
_ASKING = 60.0  # seconds for which it is used on while a thread asks again


class Database:
    """A database with fleetwatt's schema, used by all threads of a process.

    Connections are opened when they are first needed, and none is used before the schema has been
    found up to date.

    Every method that asks the database raises a `DatabaseError`: `Unavailable` where it is away,
    `Busy` where it is busy, `StatementFailed` where a statement is at fault. A question is asked
    again, once, where its connection was lost.

    Writes, keys and health have connections of their own: analytic questions leave half of them
    (rounded down) to others, and all questions together leave one.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._queries = queries.load()
        self._pool = Pool(self._open, config.pool_size, config.pool_timeout)
        self._for_replica = queries.names(queries.FOR_REPLICA)
        self._analytic = queries.names(queries.ANALYTIC)
        self._first = queries.names(queries.FIRST)
        self._for_writes = queries.names(queries.FOR_WRITES)
        # Half of the threads are left to those that don't wait for questions.
        may_wait = config.threads // 2
        self._questions = Share(max(1, config.pool_size - 1), may_wait)
        most_analytic = min(config.analytic_queries, (config.pool_size + 1) // 2)
        self._analytic_questions = Share(most_analytic, may_wait)
        self._write_patience = config.write_timeout or _A_DAY
        self._replica = (
            Replica(config, self._queries["replica_lag"]) if config.replica_url else None
        )
        # Of few connections one is enough to write by: others are to read.
        writers = 2 if config.pool_size > 2 else 1
        self._queue = WriteQueue(self._insert, config.queue_size, config.write_timeout, writers)
        # Written and read without a lock: the worst that a race costs is one more look.
        self._oldest: dict[Stream, tuple[float, datetime]] = {}

    def query(self, query: str, **parameters: Any) -> list[Row]:
        """Return every row of a named query, from the replica where that may answer it.

        The query only reads: it is run again where its connection was lost.
        """
        statement = self._queries[query]

        def work(connection: Connection) -> list[Row]:
            is_watched = query in self._analytic
            with abandoned.watched(connection) if is_watched else nullcontext():
                return fetch(connection, statement, parameters)

        if self._replica and query in self._for_replica:
            with suppress(ReplicaAway), translated():
                return self._replica.ask(work)
        patience = self._write_patience if query in self._for_writes else None
        return self._retry_once(work, *self._shares_of(query), timeout=patience)

    def query_one(self, query: str, **parameters: Any) -> Row | None:
        """Return the first row of a named query that only reads, or None."""
        rows = self.query(query, **parameters)
        return rows[0] if rows else None

    def execute_once(self, query: str, **parameters: Any) -> Row | None:
        """Run a named query that changes something; it is never run again.

        Returns:
            Its first row, or None.

        Raises:
            Unavailable: The database is away, or the connection was lost; then the change may have
                been made.
        """
        with translated(), self._pool.connection() as connection:
            rows = fetch(connection, self._queries[query], parameters)
            return rows[0] if rows else None

    def write(self, batch: Sequence[Rows]) -> WriteResult:
        """Store readings in history and latest, all or nothing, and return after the commit."""
        return self._queue.write(batch)

    def write_each(self, batches: Sequence[Sequence[Rows]]) -> list[WriteResult | BaseException]:
        """Store several batches, each all or nothing; return what became of each, or its error."""
        return self._queue.write_each(batches)

    def refresh(
        self, aggregate: str, start: datetime, end: datetime, *, force: bool = True
    ) -> bool:
        """Materialize a span's whole rows; by force also those that nothing says are stale.

        Where raw was dropped, that erases the aggregate: the span must lie inside raw retention.

        Returns:
            Whether anything is materialized in this edition.
        """
        return self._retry_once(
            lambda connection: editions.refresh(connection, aggregate, start, end, force=force)
        )

    def run_job(self, job: int) -> None:
        """Run one of TimescaleDB's jobs now, and return when it is done."""
        self._retry_once(lambda connection: editions.run_job(connection, job))

    def tidy(self) -> None:
        """Do what autovacuum and the checkpointer do, for a database that has neither."""
        self._retry_once(editions.tidy)

    @property
    def lateness(self) -> timedelta:
        """How long late readings are common."""
        return timedelta(days=self._config.lateness)

    @property
    def max_kw(self) -> float:
        """The highest power, in kW, of a device that the register has none of."""
        return self._config.max_kw

    def settle(self, stream: Stream, older_than: timedelta) -> None:
        """Materialize what the aggregates lack of the raw readings that retention would drop."""
        self._retry_once(lambda connection: editions.settle(connection, stream, older_than))

    def oldest_accepted(self, stream: Stream) -> datetime:
        """Return the time before which retention would drop a reading unseen."""
        known = self._oldest.get(stream)
        if known and time.monotonic() - known[0] < _RETENTION_KEPT:
            return known[1]
        if known:
            # Other threads use it while one asks: where the database stands still, they don't wait.
            self._oldest[stream] = (time.monotonic() + _ASKING, known[1])
        try:
            row = self.query_one(f"{stream.name}.oldest_accepted")
        except BaseException:
            if known:
                self._oldest[stream] = known
            raise
        oldest = row["oldest"] if row and row["oldest"] else BEGINNING
        self._oldest[stream] = (time.monotonic(), oldest)
        return oldest

    def check_ready(self) -> str:
        """Make sure that the database answers, has an up-to-date schema and takes writes.

        Returns:
            Which server that is, host and port.

        Raises:
            Unavailable: It does not.
        """

        def look(connection: Connection) -> str:
            if not fetch(connection, self._queries["takes_writes"])[0]["takes_writes"]:
                # As a write would find: one that is opened now may lead to the new primary.
                raise errors.ReadOnlySqlTransaction("the database is read-only")
            return netloc(connection.info.host, connection.info.port)

        return self._retry_once(look)

    @property
    def has_several_hosts(self) -> bool:
        """Whether the database's URL names several hosts, one of which is the primary."""
        return "," in parse_dsn(self._config.database_url).get("host", "")

    @property
    def has_replica(self) -> bool:
        """Whether a replica is set."""
        return self._replica is not None

    def replica_lag(self) -> float | None:
        """Return by how many seconds the replica is behind; None: it is away, or none is set."""
        return self._replica.lag() if self._replica else None

    def cut_unanswered(self) -> None:
        """End the waiting for a database that stands still; to be called every second."""
        if self._config.statement_timeout:
            cut_unanswered(self._config.statement_timeout + _GRACE)

    def cancel_abandoned(self) -> None:
        """Cancel analytic questions whose clients are gone; to be called every second."""
        abandoned.cancel()

    def set_gauges(self) -> None:
        """Set the gauges of this process: its queue and its connections."""
        used, idle = self._pool.usage()
        metrics.POOL.labels("used").set(used)
        metrics.POOL.labels("idle").set(idle)
        metrics.POOL_LIMIT.set(self._config.pool_size)
        metrics.QUEUE.set(self._queue.queued)
        metrics.QUEUE_AGE.set(self._queue.waited)
        metrics.QUEUE_LIMIT.set(self._config.queue_size)

    def close(self) -> None:
        """Write what waits, and close the connections."""
        self._queue.close()
        self._pool.drop_idle()
        if self._replica:
            self._replica.close()

    def _shares_of(self, query: str) -> tuple[Share, ...]:
        """Return what a query's connection counts towards."""
        if query in self._analytic:
            return self._analytic_questions, self._questions
        return () if query in self._first | self._for_writes else (self._questions,)

    def _open(self) -> Connection:
        opened = connect(self._config)
        try:
            # Each time: a database may be replaced, or restored, while this process lives.
            migrations.check(opened)
            # A database or a role may be set to acknowledge what a crash takes away.
            fetch(opened, self._queries["commit_durably"])
        except BaseException:
            opened.close()
            raise
        return opened

    def _insert(self, batch: Sequence[Rows]) -> list[Inserted]:
        """Store readings; a retry finds those that are stored already."""
        started = time.perf_counter()
        inserted = self._retry_once(
            lambda connection: insert_rows(connection, self._queries, batch),
            timeout=self._write_patience,
        )
        outcomes = [done.outcome(len(rows)) for rows, done in zip(batch, inserted, strict=True)]
        metrics.committed(batch, outcomes, time.perf_counter() - started)
        return inserted

    def _retry_once(
        self, work: Callable[[Connection], T], *shares: Share, timeout: float | None = None
    ) -> T:
        """Do work on a connection, and again on another one where the first was lost.

        Only for work that does no harm when it is done twice: the first time may have succeeded.
        """
        is_connected = False
        with translated():
            try:
                with self._pool.connection(*shares, timeout=timeout) as connection:
                    is_connected = True
                    return work(connection)
            except psycopg2.Error as error:
                # A server that accepts no connection is not tried twice: the wait would double.
                if not is_connected or not is_lost(error):
                    raise
                # Where one connection was lost, so were the others: the server went away.
                self._pool.drop_idle()
            except Unanswered:
                # So would the others wait, and new ones may lead to another server.
                self._pool.drop_idle()
                raise
            with self._pool.connection(*shares, timeout=timeout) as connection:
                return work(connection)
