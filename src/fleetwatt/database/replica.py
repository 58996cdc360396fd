"""A streaming replica, which answers what may be a moment old.

While the replica is away, the primary answers in its place. A thread looks for the replica at most
every few seconds; it looks once and ends.

`_changed` guards `_answers` and `_look_at`; no thread holds it while it talks to the database.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import TransactionRollbackError

from fleetwatt.database.errors import Abandoned, DatabaseError, PoolExhausted, Unavailable
from fleetwatt.database.pool import Pool, Share, connect, fetch
from fleetwatt.database.schema import migrations

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg2.extensions import connection as Connection

    from fleetwatt.config import Config

log = logging.getLogger(__name__)

T = TypeVar("T")
PAUSE = 5.0  # seconds between two looks for a replica that is away


class ReplicaAway(Unavailable):
    """The replica does not answer now; the primary has to."""


class Replica:
    """A replica of the database, which all threads of a process may ask."""

    def __init__(self, config: Config, lag: str) -> None:
        """Take the settings, and the statement that returns its lag."""
        own = replace(config, database_url=config.replica_url)
        self._pool = Pool(lambda: connect(own), config.pool_size, config.pool_timeout)
        self._questions = Share(config.pool_size, config.threads // 2)
        self._lag = lag
        self._changed = threading.Lock()
        self._answers = False
        self._look_at = float("-inf")

    def ask(self, work: Callable[[Connection], T]) -> T:
        """Do work that only reads.

        Raises:
            ReplicaAway: It is away, or could not do this: the primary has to.
            Abandoned: The client is gone.
            PoolExhausted: It is busy; the primary must not do its work as well.
            psycopg2.Error: The work took too long, as it would on the primary.
        """
        if not self._answering():
            raise ReplicaAway("the replica is away")
        try:
            with self._pool.connection(self._questions) as connection:
                return work(connection)
        except (errors.QueryCanceled, PoolExhausted, Abandoned):
            raise
        except TransactionRollbackError as error:
            # The replay took away what the query reads; the next query may go well.
            raise ReplicaAway(f"the replica canceled a query: {error}") from error
        except (psycopg2.OperationalError, psycopg2.InterfaceError, DatabaseError) as error:
            self._rest(error)
            raise ReplicaAway("the replica went away") from error
        except psycopg2.Error as error:
            # It may be behind a migration. Where the query itself is at fault, the primary says so.
            log.warning("the replica can't answer, the primary is asked: %s", error)
            raise ReplicaAway("the replica can't answer this") from error

    def lag(self) -> float | None:
        """Return by how many seconds it is behind; 0: it knows of nothing newer; None: unknown."""
        try:
            return self.ask(self._measure)
        except (ReplicaAway, PoolExhausted, errors.QueryCanceled):
            return None

    def close(self) -> None:
        """Close the connections."""
        self._pool.drop_idle()

    def _answering(self) -> bool:
        """Return whether it answers; where it doesn't, start a thread that looks for it."""
        with self._changed:
            if self._answers or time.monotonic() < self._look_at:
                return self._answers
            self._look_at = time.monotonic() + PAUSE
        threading.Thread(target=self._look, name="replica", daemon=True).start()
        return False

    def _look(self) -> None:
        """Use it again if it answers and its schema is up to date."""
        try:
            with self._pool.connection() as connection:
                migrations.check(connection)
                self._measure(connection)
        except (psycopg2.Error, DatabaseError) as error:
            self._rest(error)
            return
        with self._changed:
            self._answers = True
        log.info("the replica answers")

    def _rest(self, error: Exception) -> None:
        with self._changed:
            self._answers = False
            self._look_at = time.monotonic() + PAUSE
        self._pool.drop_idle()
        log.warning("the replica is away, the primary is asked for %g s: %s", PAUSE, error)

    def _measure(self, connection: Connection) -> float:
        lag: float | None = fetch(connection, self._lag)[0]["lag"]
        if lag is None:
            raise ReplicaAway("the server at FLEETWATT_REPLICA_URL is not a replica (any more)")
        return lag
