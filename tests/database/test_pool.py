"""The pool of connections."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from fleetwatt.config import Config
from fleetwatt.database.pool import Pool, connect
from tests.conftest import rows

TIMEOUT = 0.2


def test_who_waits_gets_a_connection_that_comes_back_as_the_time_is_over(config: Config) -> None:
    pool = Pool(lambda: connect(config), size=1, timeout=TIMEOUT)

    def ask() -> list[tuple[int]]:
        with pool.connection() as connection:
            return rows(connection, "SELECT 1")

    with ThreadPoolExecutor(1) as threads, ExitStack() as taken:
        taken.enter_context(pool.connection())
        waiting = threads.submit(ask)
        time.sleep(TIMEOUT / 2)
        # Whoever holds this keeps the waiting thread from noticing that its time is over.
        with pool._changed:
            time.sleep(TIMEOUT)
            taken.close()

        assert waiting.result() == [(1,)]
    pool.drop_idle()


def test_a_connection_that_ended_while_it_lay_idle_is_not_lent(config: Config) -> None:
    """A change that is sent on it would fail, although the server is there."""
    pool = Pool(lambda: connect(config), size=1, timeout=TIMEOUT)
    with pool.connection() as first:
        assert rows(first, "SELECT 1") == [(1,)]
    with socket.socket(fileno=os.dup(first.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)

    with pool.connection() as second:
        assert rows(second, "SELECT 2") == [(2,)]

    assert first.closed
    assert pool.usage() == (0, 1)
    pool.drop_idle()
