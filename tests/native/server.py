"""A TimescaleDB server with real processes, for tests and benchmarks, without Docker.

Tests use `NativeServer`. `python -m tests.native.server run` starts one by hand, prints its URL and
removes it on Ctrl-C; `install` and `clean` are about its programs alone (see binaries.py).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pwd
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.native.binaries import NativeServerError, bindir, clean, run, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "jit": "off",
    "max_connections": "200",
    # Each database with TimescaleDB has a scheduler, and each job that runs takes one more.
    "max_worker_processes": "32",
    "shared_buffers": "512MB",
}

# From 32768 up, an outgoing connection may take a port at any moment. Of the ports below, each
# worker of pytest-xdist has a thousand of its own and takes none twice before all were taken: two
# servers that start at once never meet.
_SHARE = 20_000 + 1_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12)
_PORTS = itertools.cycle(random.sample(range(_SHARE, _SHARE + 1_000), 1_000))

# It waits until its parent closes the pipe or dies, in whatever way: not even kill -9 of the tests
# leaves a data directory behind. Removing it earlier would only make PostgreSQL panic.
GUARD = """
cat
for _ in $(seq 200); do [ -e "$1/data/postmaster.pid" ] || break; sleep 0.1; done
rm -rf -- "$1"
"""


class NativeServer:
    """A cluster of its own in a temporary folder, which `stop()` removes.

    Start it from a thread that outlives it, best the main one: when the thread that started a
    process ends, Linux takes that for the death of the parent, and the server stops.

    Attributes:
        url: libpq URL of the superuser `postgres`, on 127.0.0.1.
        folder: All that the server writes, and its Unix socket.
        data: The data directory.
        log: PostgreSQL's log.
    """

    folder: Path
    data: Path
    log: Path

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Takes settings that override or extend SETTINGS."""
        self.settings = {**SETTINGS, **(settings or {})}
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self.url = f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/postgres"
        self._postmaster: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Makes a fresh cluster and returns when it accepts connections."""
        self._bindir = bindir()
        self.folder = Path(tempfile.mkdtemp(prefix="fleetwatt-"))
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        command = ["sh", "-c", GUARD, "guard", str(self.folder)]
        self._guard = subprocess.Popen(
            command, stdin=subprocess.PIPE, cwd="/", start_new_session=True
        )
        try:
            self._initialize()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all of the server's processes and removes its folder."""
        # At once, since nobody will need the checkpoint of an orderly shutdown.
        self._shut_down(signal.SIGQUIT)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self._guard.communicate()

    def halt(self) -> None:
        """Shuts down in order and keeps everything for `restart()`."""
        self._shut_down(signal.SIGINT)

    def restart(self) -> None:
        """Starts again with the same data and port, after `kill9()` or an orderly shutdown."""
        self.halt()
        self._launch()

    def kill9(self) -> None:
        """Kills all of the server's processes at once; their data stays as it is."""
        if self._postmaster is None:
            return
        # A postmaster that stands still starts no process that would miss in the list.
        self._postmaster.send_signal(signal.SIGSTOP)
        os.waitpid(self._postmaster.pid, os.WUNTRACED)
        victims = self.processes()
        # The postmaster last, since its children would notice its end and write to the log.
        for pid in reversed(victims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._postmaster.wait()
        self._postmaster = None
        _wait(lambda: not alive(victims), 60, "processes survive kill -9")

    def processes(self) -> list[int]:
        """The ids of the postmaster and its children, which are all there are."""
        if self._postmaster is None:
            return []
        pid = self._postmaster.pid
        return [pid, *(child for child, parent, _ in _process_table() if parent == pid)]

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(self._password)
        give_away(self.folder, password)
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        cluster = [f"--pgdata={self.data}", f"--pwfile={password}", "--username=postgres"]
        run(*unprivileged(), self._bindir / "initdb", *cluster, *options)
        password.unlink()
        self._configure(self.settings)

    def _configure(self, settings: Mapping[str, str]) -> None:
        own = {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        with (self.data / "postgresql.conf").open("a") as file:
            for name, value in (own | dict(settings)).items():
                quoted = value.replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def _launch(self) -> None:
        command = [*unprivileged(), self._bindir / "postgres", "-D", self.data]
        with self.log.open("ab") as log:
            # In a session of its own the terminal's Ctrl-C doesn't reach it before the tests' end.
            self._postmaster = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        _wait(self._is_ready, 120, "PostgreSQL isn't ready")

    def _is_ready(self) -> bool:
        if self._postmaster is None or self._postmaster.poll() is not None:
            raise NativeServerError(f"PostgreSQL ended:\n{self.log.read_text()[-2000:]}")
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # pg_ctl looks there too. A file left by a killed postmaster has another id.
        return lines[:1] == [str(self._postmaster.pid)] and "ready" in "".join(lines[7:])

    def _shut_down(self, how: signal.Signals) -> None:
        if self._postmaster is None:
            return
        self._postmaster.send_signal(how)
        try:
            self._postmaster.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill9()
        self._postmaster = None


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run; a zombie doesn't."""
    return [pid for pid, _, state in _process_table() if pid in pids and state != "Z"]


def _process_table() -> Iterator[tuple[int, int, str]]:
    """Of each process its id, its parent's id and its state."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        # It may have ended since it was listed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent, *_ = file.read_text().rpartition(")")[2].split()
            yield int(file.parent.name), int(parent), state


def _account() -> pwd.struct_passwd | None:
    """Whom to become, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def give_away(*paths: Path) -> None:
    """Gives files to the account that the server runs as."""
    if account := _account():
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid)


def unprivileged() -> list[str | Path]:
    """The command that another one is run by, as an account that PostgreSQL accepts."""
    # The kernel stops the server when its parent dies, in whatever way.
    prefix: list[str | Path] = ["setpriv", "--pdeathsig=QUIT"]
    if account := _account():
        prefix += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return prefix


def free_port() -> int:
    """A port of 127.0.0.1 to listen on, also again after a restart."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a cycle has no end")


def _wait(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NativeServerError(f"{complaint} after {seconds:g} s")
        time.sleep(0.02)


def _serve(settings: list[str]) -> None:
    with NativeServer(dict(setting.split("=", 1) for setting in settings)) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        say(f"Log: {server.log}. Ctrl-C removes the server.")
        ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)


def main() -> None:
    """Runs a server until it is told to stop, or gets or removes what that needs."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.server", description=main.__doc__)
    parser.add_argument("command", choices=["run", "install", "clean"])
    parser.add_argument("-c", metavar="NAME=VALUE", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            _serve(arguments.settings)
        elif arguments.command == "install":
            sys.stdout.write(f"{bindir()}\n")
        else:
            clean()
    except NativeServerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
