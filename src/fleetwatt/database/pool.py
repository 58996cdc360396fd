"""Connections to the database: how one is opened, and a pool of them.

psycopg2's own pool raises at once when it is empty and needs the database up to start; this one
waits, bounded, and opens a connection when it is first needed.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import psycopg2
from psycopg2.extensions import parse_dsn
from psycopg2.extras import RealDictCursor

from fleetwatt.database.errors import NotReplicated, PoolExhausted, Unanswered, in_a_line

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.sql import Composable

    from fleetwatt.config import Config

Row = dict[str, Any]
# As a URL has it before its last @, and as a parameter.
_PASSWORDS = re.compile(r"/[^:]*:(.*)@|password\s*=\s*(?:'([^']*)'|([^\s&]*))", re.DOTALL)
_SHORTEST_SECRET = 3
# What PostgreSQL calls a warning where it speaks English, and what it then warns of.
_WARNING = "WARNING:"
_WAIT_CUT_SHORT = "synchronous replication"


def connect(config: Config, timezone: str | None = "UTC") -> Connection:
    """Open a connection in autocommit, so that reading leaves no transaction open.

    Args:
        config: Which database, and how long anything may take.
        timezone: The session's; None for the server's own.

    Raises:
        psycopg2.OperationalError: The database can't be reached.
    """
    options = f"-c statement_timeout={round(config.statement_timeout * 1000)}"
    # A role may be set to hear of errors alone, and `fetch` has to hear of warnings.
    options += " -c client_min_messages=warning"
    if timezone:
        options += f" -c timezone={timezone}"
    try:
        # Ours would replace the URL's, such as a search_path.
        given = parse_dsn(config.database_url).get("options") or os.environ.get("PGOPTIONS", "")
        opened: Connection = psycopg2.connect(
            config.database_url,
            connect_timeout=config.connect_timeout,
            application_name="fleetwatt",
            options=f"{given} {options}",
            # Else the kernel notices only after a quarter of an hour that a host is gone.
            tcp_user_timeout=60_000,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
    except psycopg2.Error as error:
        # libpq quotes what it can't read, and without the chain no traceback shows the original.
        raise psycopg2.OperationalError(masked(str(error), config.database_url)) from None
    opened.autocommit = True
    return opened


def masked(message: str, url: str) -> str:
    """Return a message without any part of a database URL's password.

    Where a character should have been percent-encoded, libpq takes a part of the password for
    something else, such as a port, and quotes it. So each part is looked for.
    """
    secrets = set()
    for password in _PASSWORDS.findall(url):
        text = next(filter(None, password), "")
        secrets |= {text, unquote(text), *re.split(r"[/?#@:&\s']", text)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            message = message.replace(secret, "***")
    return message


# When each connection was asked what it has not answered yet, of all threads of a process.
_asked: dict[Connection, float] = {}
_CUT = float("inf")
# Held to forget a connection, and to cut some: none that is cut has been closed meanwhile.
_cutting = threading.Lock()


def fetch(
    connection: Connection,
    statement: str | Composable,
    parameters: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Run a statement and return its rows.

    Raises:
        Unanswered: The connection was cut, since no answer came.
        NotReplicated: The statement was committed here, and maybe on no standby.
    """
    _asked[connection] = time.monotonic()
    connection.notices.clear()
    try:
        with connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(statement, parameters)
            _check_replicated(connection.notices)
            return [dict(row) for row in cursor.fetchall()]
    except psycopg2.Error as error:
        if _asked[connection] == _CUT:
            raise Unanswered("a statement was not answered in time") from error
        raise
    finally:
        with _cutting:
            del _asked[connection]


def _check_replicated(warnings: Sequence[str]) -> None:
    """Look for the warning with which a commit succeeds whose wait for a standby was cut short.

    It has no code to know it by, and libpq leaves its SQLSTATE out. A server that speaks another
    language than English warns so rarely that any warning is taken for this one.

    Raises:
        NotReplicated: It is there.
    """
    for warning in warnings:
        if _WAIT_CUT_SHORT in warning or not warning.startswith(_WARNING):
            raise NotReplicated(in_a_line(warning))


def cut_unanswered(seconds: float) -> None:
    """Cut the connections that have not answered for so long.

    A server that stands still keeps no statement_timeout, and its kernel goes on to acknowledge
    what it is sent. A thread inside libpq would wait until the server moves again.
    """
    with _cutting:
        for connection, asked in list(_asked.items()):
            if time.monotonic() - asked > seconds:
                _asked[connection] = _CUT
                # It may have broken just now.
                with suppress(psycopg2.Error, OSError), _socket(connection) as own:
                    own.shutdown(socket.SHUT_RDWR)


def _socket(connection: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


def _has_ended(connection: Connection) -> bool:
    """Whether the server has ended an idle connection.

    Unasked, a server says only that it ends a session, or that a setting has changed. Either makes
    the socket readable, and after either another connection serves as well.
    """
    watched = select.poll()
    watched.register(connection.fileno(), select.POLLIN)
    return bool(watched.poll(0))


@dataclass(eq=False)
class Share:
    """The part of a pool that work of one kind may take, so that something is left for other work.

    The pool's `_changed` guards `taken` and `waiting`.

    Attributes:
        most: How many connections at once.
        may_wait: How many threads may wait for one of them; others get Busy at once.
    """

    most: int
    may_wait: int
    taken: int = 0
    waiting: int = 0


class Pool:
    """Up to `size` connections that threads take turns with, the last used first.

    `_changed` guards `_idle`, `_open` and what is taken of shares. A thread holds it to take a
    connection, to return one, or to reserve the right to open one. It never holds it while it talks
    to the database. The pool has no thread.
    """

    def __init__(self, open_one: Callable[[], Connection], size: int, timeout: float) -> None:
        self._open_one = open_one
        self._size = size
        self._timeout = timeout
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._open = 0

    @contextmanager
    def connection(self, *shares: Share, timeout: float | None = None) -> Iterator[Connection]:
        """Lend a connection; one that is closed when it comes back is forgotten.

        Args:
            shares: What the connection counts towards.
            timeout: Seconds to wait for one at most; None: as long as the pool says.

        One that ended while it lay idle is replaced: a change that is sent on it would fail, and
        leave open whether it was made.

        Raises:
            PoolExhausted: None came free in time, or too many threads wait already.
            psycopg2.OperationalError: A new one could not be opened.
        """
        taken = self._take(shares, self._timeout if timeout is None else timeout)
        if taken and _has_ended(taken):
            taken.close()
            taken = None
        taken = taken or self._new(shares)
        try:
            yield taken
        except BaseException:
            # Whatever state it was left in: a broken or half-read connection is of no use.
            taken.close()
            raise
        finally:
            self._return(taken, shares)

    def usage(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are open and free."""
        with self._changed:
            return self._open - len(self._idle), len(self._idle)

    def drop_idle(self) -> None:
        """Close the connections that are not in use."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            self._changed.notify_all()
        for connection in idle:
            connection.close()

    def _take(self, shares: Sequence[Share], timeout: float) -> Connection | None:
        """Take an idle connection, or return None with the right to open one."""
        with self._changed:
            if not self._is_free(shares):
                self._wait(shares, timeout)
            for share in shares:
                share.taken += 1
            if self._idle:
                return self._idle.pop()
            self._open += 1
            return None

    def _is_free(self, shares: Sequence[Share]) -> bool:
        is_left = bool(self._idle) or self._open < self._size
        return is_left and all(share.taken < share.most for share in shares)

    def _wait(self, shares: Sequence[Share], timeout: float) -> None:
        """Wait for a connection while holding `_changed`; each waiting thread is a request's."""
        if any(share.waiting >= share.may_wait for share in shares):
            raise PoolExhausted("too many questions wait for a database connection already")
        for share in shares:
            share.waiting += 1
        try:
            # It looks once more after the time is over, when it may have been woken for nothing.
            if not self._changed.wait_for(lambda: self._is_free(shares), timeout):
                raise PoolExhausted(f"no database connection came free within {timeout:g} s")
        finally:
            for share in shares:
                share.waiting -= 1

    def _new(self, shares: Sequence[Share]) -> Connection:
        try:
            return self._open_one()
        except BaseException:
            with self._changed:
                self._open -= 1
                self._give_back(shares)
            raise

    def _return(self, connection: Connection, shares: Sequence[Share]) -> None:
        with self._changed:
            if connection.closed:
                self._open -= 1
            else:
                self._idle.append(connection)
            self._give_back(shares)

    def _give_back(self, shares: Sequence[Share]) -> None:
        for share in shares:
            share.taken -= 1
        # All of them: what came free may be of use to one that waits, and of none to the next.
        self._changed.notify_all()
