"""Deploys under load: every request gets its answer, and what was acknowledged is there.

The clients try nothing again: a refused connection, a cut one, a 503 each fail the test.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from psycopg2.extensions import connection as Connection

from tests.conftest import gunicorn, rows
from tests.examples import NOW, at, meter

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)

CLIENTS = 12
WORKERS = 2
Deploy = Callable[[int], None]


class Client:
    """Posts readings one after the other, on one connection or each on a new one, until told."""

    def __init__(self, url: str, number: int) -> None:
        self.address = url.removeprefix("http://")
        self.keeps_alive = number % 2 == 0
        self.device = f"M-{number}"
        self.acknowledged: set[str] = set()

    def post_until(self, done: Event) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while not done.is_set():
            timestamp = at(NOW - timedelta(seconds=len(self.acknowledged)))
            connection.request(
                "POST",
                "/v1/ingestion/meter",
                json.dumps(meter(meterId=self.device, timestamp=timestamp)),
                {"Content-Type": "application/json"},
            )
            with connection.getresponse() as response:
                assert response.status == 201, response.read()
                response.read()
            self.acknowledged.add(timestamp)
            if not self.keeps_alive:
                connection.close()
        connection.close()


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of gunicorn and the id of its master."""
    with gunicorn(database_url, WORKERS, tmp_path / "log") as (url, process):
        yield url, process.pid


def children(pid: int) -> set[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return set(map(int, listed.stdout.split()))


def await_that(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def reload_workers(master: int) -> None:
    """SIGHUP: new workers take over from the old ones."""
    old = children(master)
    os.kill(master, signal.SIGHUP)
    await_that(
        lambda: len(children(master)) == WORKERS and not old & children(master), "old workers stay"
    )


def replace_master(master: int) -> int:
    """SIGUSR2, then SIGTERM to the old master: a new program takes over its sockets; return it."""
    old = children(master)
    os.kill(master, signal.SIGUSR2)
    await_that(lambda: len(children(master) - old) == 1, "no new master")
    (new,) = children(master) - old
    await_that(lambda: len(children(new)) == WORKERS, "the new master has no workers")
    os.kill(master, signal.SIGTERM)
    await_that(lambda: not Path(f"/proc/{min(old)}").exists(), "old workers stay")
    return new


def under_load(url: str, deploy: Callable[[], None]) -> list[Client]:
    clients = [Client(url, number) for number in range(CLIENTS)]
    done = Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        posting = [threads.submit(client.post_until, done) for client in clients]
        try:
            await_that(lambda: all(client.acknowledged for client in clients), "nobody is answered")
            deploy()
            answered = [len(client.acknowledged) for client in clients]
            await_that(
                lambda: all(
                    thread.done() or len(client.acknowledged) > before
                    for client, before, thread in zip(clients, answered, posting, strict=True)
                ),
                "nobody is answered afterwards",
            )
        finally:
            done.set()
        for thread in posting:
            thread.result()
    return clients


def check_all_is_stored(sql: Connection, clients: list[Client]) -> None:
    stored = rows(sql, "SELECT meter_id, time FROM meter_telemetry")
    assert sorted((device, at(time.astimezone(NOW.tzinfo))) for device, time in stored) == sorted(
        (client.device, timestamp) for client in clients for timestamp in client.acknowledged
    )


def test_reloaded_workers_leave_no_request_without_an_answer(
    server: tuple[str, int], sql: Connection
) -> None:
    url, master = server

    def deploy() -> None:
        for _ in range(3):
            reload_workers(master)

    check_all_is_stored(sql, under_load(url, deploy))


def test_a_new_master_on_the_same_sockets_leaves_no_request_without_an_answer(
    server: tuple[str, int], sql: Connection
) -> None:
    url, master = server
    masters: list[int] = []

    def deploy() -> None:
        masters.append(replace_master(master))

    try:
        check_all_is_stored(sql, under_load(url, deploy))
    finally:
        for new in masters:
            os.kill(new, signal.SIGTERM)
        await_that(lambda: not any(Path(f"/proc/{new}").exists() for new in masters), "it stays")
