"""Deploys under load: every request gets its answer, and what was acknowledged is there.

The clients try nothing again: a refused connection, a cut one, a 503 each fail the test. But on a
connection that they left unused for too long they may find that it was closed.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Self
from urllib.parse import urlsplit

import psutil
import pytest
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER
from psycopg2.extensions import connection as Connection

from tests.conftest import gunicorn, rows
from tests.examples import NOW, at, meter
from tests.native.server import alive, free_port
from tests.ops import nginx
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    not os.environ.get("FLEETWATT_NATIVE"), reason="needs FLEETWATT_NATIVE=1"
)

CLIENTS = 12
WORKERS = 2
Deploy = Callable[[int], None]


class Client:
    """Posts readings one after the other, on one connection or each on a new one, until told."""

    def __init__(self, url: str, number: int, trust: ssl.SSLContext | None) -> None:
        scheme, _, self.address = url.partition("://")
        self.trust = trust if scheme == "https" else None
        self.keeps_alive = number % 2 == 0
        self.device = f"M-{number}"
        self.acknowledged: set[str] = set()
        self.posted = 0.0

    def connect(self) -> http.client.HTTPConnection:
        if self.trust:
            return http.client.HTTPSConnection(self.address, timeout=60, context=self.trust)
        return http.client.HTTPConnection(self.address, timeout=60)

    def post(self, connection: http.client.HTTPConnection, body: str) -> http.client.HTTPResponse:
        is_used, before, self.posted = connection.sock is not None, self.posted, time.monotonic()
        try:
            return self.post_once(connection, body)
        except (ConnectionResetError, BrokenPipeError):
            # So long a worker that stops waits for a next request: starved, we may come later.
            if not is_used or time.monotonic() - before < STOP_KEEPALIVE_LINGER:
                raise
        connection.close()
        return self.post_once(connection, body)

    def post_once(
        self, connection: http.client.HTTPConnection, body: str
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/ingestion/meter", body, headers)
        return connection.getresponse()

    def post_until(self, done: Event) -> None:
        connection = self.connect()
        while not done.is_set():
            timestamp = at(NOW - timedelta(seconds=len(self.acknowledged)))
            body = json.dumps(meter(meterId=self.device, timestamp=timestamp))
            with self.post(connection, body) as response:
                # A proxy may have sent it twice, where an instance ended before it answered.
                assert response.status in ({200, 201} if self.trust else {201}), response.read()
                response.read()
            self.acknowledged.add(timestamp)
            if not self.keeps_alive:
                connection.close()
        connection.close()


@contextmanager
def kept_alive(url: str, count: int) -> Iterator[None]:
    """So many connections, each of which was answered once."""
    with ExitStack() as opened:
        for _ in range(count):
            client = opened.enter_context(
                closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=60))
            )
            client.request("GET", "/healthz")
            client.getresponse().read()
        yield


def spread(url: str, master: int, count: int) -> list[int]:
    """How many of so many connections each worker serves."""
    with kept_alive(url, count):
        return [
            sum(
                connection.status == psutil.CONN_ESTABLISHED
                and connection.laddr.port == urlsplit(url).port
                for connection in psutil.Process(worker).net_connections("tcp")
            )
            for worker in children(master)
        ]


def await_workers(url: str, master: int) -> None:
    """Return when not only the first of them serves."""
    eventually(lambda: min(spread(url, master, 8)) > 0, "a worker serves nobody")


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of gunicorn and the id of its master."""
    with gunicorn(database_url, WORKERS, tmp_path / "log") as (url, process):
        yield url, process.pid


def children(pid: int) -> set[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return set(map(int, listed.stdout.split()))


def reload_workers(master: int) -> None:
    """SIGHUP: new workers take over from the old ones."""
    old = children(master)
    os.kill(master, signal.SIGHUP)
    eventually(
        lambda: len(children(master)) == WORKERS and not old & children(master), "old workers stay"
    )


def replace_master(master: int) -> int:
    """SIGUSR2, then SIGTERM to the old master: a new program takes over its sockets; return it."""
    old = children(master)
    os.kill(master, signal.SIGUSR2)
    eventually(lambda: len(children(master) - old) == 1, "no new master")
    (new,) = children(master) - old
    eventually(lambda: len(children(new)) == WORKERS, "the new master has no workers")
    os.kill(master, signal.SIGTERM)
    eventually(lambda: not alive(list(old)), "old workers stay")
    return new


def under_load(
    url: str, deploy: Callable[[], None], trust: ssl.SSLContext | None = None
) -> list[Client]:
    clients = [Client(url, number, trust) for number in range(CLIENTS)]
    done = Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        posting = [threads.submit(client.post_until, done) for client in clients]
        try:
            eventually(lambda: all(client.acknowledged for client in clients), "nobody is answered")
            deploy()
            answered = [len(client.acknowledged) for client in clients]
            eventually(
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


def accepted(url: str) -> int:
    """How many readings all workers, the ended ones among them, say they have stored."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as response:
        counts = re.findall(
            r"^fleetwatt_readings_total{.*accepted.*} (.*)$", response.read().decode(), re.MULTILINE
        )
    return int(sum(map(float, counts)))


@pytest.mark.parametrize("more", [0, -1])
def test_workers_keep_to_a_core_each_where_there_are_as_many(
    more: int, database_url: str, tmp_path: Path
) -> None:
    cores = os.sched_getaffinity(0)
    workers = len(cores) + more
    if not workers:
        pytest.skip("one core")
    wanted = [cores] * workers if more else [{core} for core in sorted(cores)]

    def taken() -> list[set[int]]:
        return sorted((os.sched_getaffinity(pid) for pid in children(master.pid)), key=min)

    with gunicorn(database_url, workers, tmp_path / "log") as (_, master):
        eventually(lambda: taken() == wanted, f"{wanted}")
        # Their successors, too.
        before = children(master.pid)
        master.send_signal(signal.SIGHUP)
        eventually(lambda: not before & children(master.pid) and taken() == wanted, f"{wanted}")


def test_workers_serve_as_many_connections_as_each_other(server: tuple[str, int]) -> None:
    url, master = server
    await_workers(url, master)

    of_each = spread(url, master, 40)

    assert sum(of_each) == 40
    assert min(of_each) >= 10


def test_what_a_frozen_worker_does_not_take_others_do(server: tuple[str, int]) -> None:
    url, master = server
    await_workers(url, master)
    frozen = min(children(master))
    os.kill(frozen, signal.SIGSTOP)
    try:
        with kept_alive(url, 10):
            pass
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_reloaded_workers_leave_no_request_without_an_answer(
    server: tuple[str, int], sql: Connection
) -> None:
    url, master = server

    def deploy() -> None:
        for _ in range(3):
            reload_workers(master)

    clients = under_load(url, deploy)

    check_all_is_stored(sql, clients)
    acknowledged = sum(len(client.acknowledged) for client in clients)
    eventually(lambda: accepted(url) == acknowledged, "the metrics tell of more or fewer")


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
        eventually(lambda: not alive(masters), "it stays")


class Instance:
    """A gunicorn of its own, on the same port after a restart."""

    def __init__(self, database_url: str, log: Path) -> None:
        self.port = free_port()
        self._database_url = database_url
        self._log = log
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._running.enter_context(
            gunicorn(self._database_url, WORKERS, self._log, FLEETWATT_PORT=str(self.port))
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def restart(self) -> None:
        """SIGTERM, and once it has ended start it again and wait until it answers."""
        self.__exit__()
        self.__enter__()


@nginx.needed
def test_two_instances_behind_nginx_restart_in_turn_and_no_request_is_lost(
    database_url: str, sql: Connection, tmp_path: Path
) -> None:
    nginx.certify(tmp_path)
    with ExitStack() as stack:
        instances = [
            stack.enter_context(Instance(database_url, tmp_path / f"log-{n}")) for n in range(2)
        ]
        addresses = [f"127.0.0.1:{instance.port}" for instance in instances]
        proxy = stack.enter_context(nginx.running(tmp_path, *addresses))

        def deploy() -> None:
            for instance in instances * 2:
                instance.restart()

        clients = under_load(proxy.url, deploy, proxy.trust)

    check_all_is_stored(sql, clients)
