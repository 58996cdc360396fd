"""The pool of connections."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from fleetwatt.config import Config
from fleetwatt.database import pool as pool_module
from fleetwatt.database.errors import Busy
from fleetwatt.database.pool import Pool, connect, cut_unanswered, fetch
from tests.conftest import rows
from tests.waiting import eventually

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


def test_idle_connections_are_closed_when_they_are_dropped(config: Config) -> None:
    pool = Pool(lambda: connect(config), size=2, timeout=TIMEOUT)
    with pool.connection() as idle:
        assert rows(idle, "SELECT 1") == [(1,)]

    with pool.connection() as used:
        pool.drop_idle()
        assert rows(used, "SELECT 2") == [(2,)]
    pool.drop_idle()

    assert idle.closed
    assert used.closed
    assert pool.usage() == (0, 0)


def test_who_waits_for_an_answer_that_does_not_come_is_cut_off(config: Config) -> None:
    with closing(connect(config)) as connection, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(fetch, connection, "SELECT pg_sleep(5)")
        eventually(lambda: bool(pool_module._asked), "it is not asked")
        cut_unanswered(3_600)
        assert not asked.done()
        cut_unanswered(0)

        assert isinstance(asked.exception(), Busy)
