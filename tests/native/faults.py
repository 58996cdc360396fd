"""A service with a database of its own, and what can happen to it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
import psycopg2
from psycopg2.extensions import connection as Connection

from bench import processes
from fleetwatt.config import Config
from fleetwatt.database.pool import connect
from fleetwatt.database.schema import migrations
from fleetwatt.streams import STREAMS
from tests.native.server import NativeServer, alive, free_port, give_away
from tests.waiting import eventually

WORKERS = 2
POOL_SIZE = 3
# Bytes that a file system in memory may grow to: room for all that a test or a soak stores.
_LARGEST = 2**31
# gunicorn's, the main one, the writer's, and some to spare for what watches them.
MOST_THREADS = Config().threads + 4


class Service:
    """gunicorn as in production on a native server, both of which may be harmed.

    Attributes:
        server: PostgreSQL.
        url: The API's address, the same after a restart.
        master: gunicorn's.
    """

    def __init__(self, server: NativeServer, folder: Path, **settings: str) -> None:
        """Describe a service; settings are those of fleetwatt, by their variables."""
        self.server = server
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "gunicorn.log"
        self._environment = {
            "FLEETWATT_DATABASE_URL": server.url,
            "FLEETWATT_WORKERS": str(WORKERS),
            "FLEETWATT_POOL_SIZE": str(POOL_SIZE),
            # By themselves gunicorn's orphans go on for so long, longer than any test waits.
            "GUNICORN_CMD_ARGS": "--graceful-timeout 600",
            **settings,
        }
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def start(self) -> None:
        """Start gunicorn, and return when it answers."""
        self.master = self._running.enter_context(
            processes.api(self.url, self.log, self._environment)
        )

    def workers(self) -> list[psutil.Process]:
        return list(self.master.children())

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A connection that is none of the service's, in autocommit."""
        with closing(psycopg2.connect(self.server.url)) as connection:
            connection.autocommit = True
            yield connection

    def backends(self) -> list[int]:
        """The process ids of the service's connections."""
        with self.database() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity "
                "WHERE application_name = 'fleetwatt' AND backend_type = 'client backend'"
            )
            return [pid for (pid,) in cursor]

    def leaks(self) -> list[str]:
        """Say where there are more connections or threads than there can be."""
        found = []
        if (count := len(self.backends())) > WORKERS * POOL_SIZE:
            found.append(f"{count} connections")
        for worker in self.workers():
            with suppress(psutil.NoSuchProcess):
                if (threads := worker.num_threads()) > MOST_THREADS:
                    found.append(f"{threads} threads of worker {worker.pid}")
        return found


def prepare(server: NativeServer) -> None:
    """Give a server fleetwatt's schema."""
    with closing(connect(Config(database_url=server.url))) as connection:
        list(migrations.upgrade(connection))


def kill_a_backend(service: Service, chance: random.Random) -> None:
    """Kill one of the service's PostgreSQL processes; the server ends all sessions and recovers."""
    eventually(lambda: bool(service.backends()), "the service has no connection")
    os.kill(chance.choice(service.backends()), signal.SIGKILL)


def kill_postgres(service: Service, chance: random.Random) -> None:
    """Kill all of PostgreSQL, and start it again a moment later."""
    service.server.kill9()
    time.sleep(chance.uniform(0, 2))
    service.server.restart()


def shut_postgres_down(service: Service, chance: random.Random) -> None:
    """Shut PostgreSQL down in order, and start it again some seconds later."""
    service.server.halt()
    time.sleep(chance.uniform(2, 6))
    service.server.restart()


def freeze_postgres(service: Service, chance: random.Random) -> None:
    """Let all of PostgreSQL stand still for some seconds, as on a host that swaps."""
    with frozen(service):
        time.sleep(chance.uniform(2, 6))


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Let all of PostgreSQL stand still; the kernel goes on to accept connections to it."""
    processes = service.server.processes()
    _send(signal.SIGSTOP, processes)
    try:
        yield
    finally:
        _send(signal.SIGCONT, processes)


def _send(what: signal.Signals, processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def cut_connections(service: Service, chance: random.Random) -> None:
    """Cut all connections many times, wherever they are in their statements."""
    with service.database() as connection, connection.cursor() as cursor:
        for _ in range(30):
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'fleetwatt'"
            )
            time.sleep(chance.uniform(0, 0.1))


def hold_a_lock(service: Service, chance: random.Random) -> None:
    """Keep everyone out of latest for some seconds."""
    with locked(service):
        time.sleep(chance.uniform(2, 6))


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Hold a lock on latest that no writer gets past."""
    with (
        closing(psycopg2.connect(service.server.url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE meters_latest, vehicles_latest IN ACCESS EXCLUSIVE MODE")
        yield


def kill_a_worker(service: Service, chance: random.Random) -> None:
    """Kill one of gunicorn's workers; the master starts another."""
    chance.choice(service.workers()).kill()


def kill_the_master(service: Service, _: random.Random) -> None:
    """Kill gunicorn's master and start another; the orphans have to end by themselves."""
    orphans = service.workers()
    service.master.kill()
    service.master.wait(30)
    service.start()
    eventually(lambda: not running(orphans), "workers outlive their master")


def restart_gunicorn(service: Service, _: random.Random) -> None:
    """Stop gunicorn in order and start it again."""
    workers = service.workers()
    service.master.terminate()
    service.master.wait(60)
    if left := running(workers):
        raise AssertionError(f"workers outlive their master: {left}")
    service.start()


def running(workers: list[psutil.Process]) -> list[int]:
    """Those of gunicorn's workers that have not ended."""
    return alive([worker.pid for worker in workers])


class CannotMount(Exception):
    """No file system can be mounted here; the message says why."""


@contextmanager
def history_on_a_small_disk(service: Service) -> Iterator[Path]:
    """Put history on a file system of its own, and drop it in the end.

    Raises:
        CannotMount: Only root may mount, and not everywhere.
    """
    disk = service.server.folder / "small"
    with _mounted(disk):
        data = disk / "data"
        data.mkdir()
        give_away(disk, data)
        with service.database() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLESPACE small LOCATION %s", (str(data),))
            for stream in STREAMS:
                cursor.execute("SELECT attach_tablespace('small', %s)", (stream.history,))
        try:
            yield disk
        finally:
            with service.database() as connection, connection.cursor() as cursor:
                for stream in STREAMS:
                    cursor.execute("SELECT detach_tablespaces(%s)", (stream.history,))
                    cursor.execute(f"TRUNCATE {stream.history}")
                cursor.execute("DROP TABLESPACE small")


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Take all the room that a file system has left, and give it back."""
    # It lies in memory, and so is shrunk, not filled; what is written meanwhile may be in the way.
    eventually(lambda: _resized(disk, _used(disk)), "the file system can't be shrunk")
    try:
        yield
    finally:
        assert _resized(disk, _LARGEST)


def _used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _resized(disk: Path, size: int) -> bool:
    command = ["mount", "-o", f"remount,size={size}", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def _mounted(disk: Path) -> Iterator[None]:
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_LARGEST}", "none", str(disk)]
    mount = subprocess.run(command, capture_output=True, text=True, check=False)
    if mount.returncode:
        raise CannotMount(mount.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(disk)], check=True)


Fault = Callable[[Service, random.Random], None]
OF_THE_DATABASE: tuple[Fault, ...] = (
    kill_a_backend,
    kill_postgres,
    shut_postgres_down,
    freeze_postgres,
    cut_connections,
    hold_a_lock,
)
OF_GUNICORN: tuple[Fault, ...] = (kill_a_worker, kill_the_master, restart_gunicorn)
