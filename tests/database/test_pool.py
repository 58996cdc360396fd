"""The pool of connections."""

from __future__ import annotations

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
