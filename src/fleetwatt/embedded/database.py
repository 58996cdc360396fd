"""Starts and stops the embedded database."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from fleetwatt.embedded import node

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT = 120.0  # seconds; opening after a crash replays the write-ahead log
STOP_TIMEOUT = 30.0  # seconds


class EmbeddedDatabaseError(Exception):
    """The embedded database could not start."""


class EmbeddedDatabase:
    """TimescaleDB on a folder, served on 127.0.0.1 by a process of its own.

    The process ends with `stop()`, or when this one dies: it reads from a pipe that closes then. A
    lock on the folder lasts as long as either process holds it open. So no two databases ever write
    there, and a kill leaves no lock behind.
    """

    def __init__(
        self, data_dir: Path, port: int = 0, *options: str, stop_timeout: float = STOP_TIMEOUT
    ) -> None:
        """Describe a database.

        Args:
            data_dir: Its folder; created when it is missing.
            port: Where to listen; 0 takes a free one and keeps it over restarts.
            options: Further arguments of server.mjs.
            stop_timeout: Seconds for the last checkpoint. A process that takes longer is killed,
                and what it acknowledged is recovered at the next start.
        """
        self.data_dir = data_dir
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options
        self._stop_timeout = stop_timeout
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """The libpq URL."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.data_dir / "server.log"

    def start(self) -> None:
        """Start, and return when it serves.

        Raises:
            EmbeddedDatabaseError: The folder is in use, or the server failed; the message says why.
            NodeError: There is no Node.js.
        """
        program = node.find()
        lock = self._take_lock()
        self._reap()
        ready, ready_to_write = os.pipe()
        command = [
            program,
            str(node.FOLDER / "server.mjs"),
            *("--data", str(self.data_dir / "pgdata")),
            *("--port", str(self.port)),
            *("--ready-fd", str(ready_to_write)),
            *self._options,
        ]
        try:
            try:
                with self.log.open("ab") as log:
                    self.process = subprocess.Popen(  # noqa: S603
                        command,
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        pass_fds=(ready_to_write, lock.fileno()),
                        # Ctrl-C is for the parent, which stops its children in the right order.
                        start_new_session=True,
                    )
            finally:
                os.close(ready_to_write)
            self.port = self._await_port(ready)
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(ready)

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def was_stopped(self) -> bool:
        """Whether the process ended in order, as it does where it is asked to."""
        return self.process is not None and self.process.poll() == 0

    def stop(self) -> None:
        """Stop in order, and return when the process is gone."""
        self._reap()
        if self._lock:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _reap(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(self._stop_timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            if self.process.stdin:
                self.process.stdin.close()
            self.process = None

    def _take_lock(self) -> IO[str]:
        if self._lock is None:
            try:
                self.data_dir.mkdir(parents=True, exist_ok=True)
                lock = (self.data_dir / "lock").open("a+", encoding="ascii")
            except OSError as error:
                raise EmbeddedDatabaseError(
                    f"can't write to {self.data_dir} ({error.strerror}): choose another folder "
                    "with FLEETWATT_DATA_DIR"
                ) from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                lock.close()
                raise EmbeddedDatabaseError(
                    f"{self.data_dir} is in use by another fleetwatt (process {holder}): stop that "
                    "one, or choose another folder with FLEETWATT_DATA_DIR"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self._lock = lock
        return self._lock

    def _await_port(self, ready: int) -> int:
        readable, _, _ = select.select([ready], [], [], START_TIMEOUT)
        line = os.read(ready, 100) if readable else b""
        if not line:
            said = self.log.read_text(errors="replace").splitlines()[-8:]
            raise EmbeddedDatabaseError("\n".join(["the embedded database did not start:", *said]))
        port: int = json.loads(line)["port"]
        return port
