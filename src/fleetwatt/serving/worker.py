"""gunicorn's threaded worker, with an end to requests that take too long to arrive, and its own.

A thread reads its request by blocking calls: without an end, a few dozen clients that send a byte
now and then hold all threads of a worker.

Workers leave a new connection to the one that serves the fewest: else the first to wake up takes
what there is, and keeps it as long as its clients like.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn import glogging
from gunicorn.workers.gthread import TConn, ThreadWorker

from fleetwatt.config import Config


class Logger(glogging.Logger):  # type: ignore[misc]
    """Writes no access log, and does not put one together: the app logs its requests itself."""

    access_log_enabled = False


LINGER = 4  # milliseconds that a thread waits for the next request of the connection that it served
UNREAD = 100_000_000  # bytes of a rejected body that are read before its connection is closed
TAKING = 5  # times as long as a request may arrive, its answer may be taken
PATIENCE = 20  # times a millisecond or more that a worker leaves a connection to the others


class Worker(ThreadWorker):  # type: ignore[misc]
    """Cuts the reading side of a connection when its request is late, then both.

    A request whose body was being read is still answered, with what it lacks; one that had arrived
    whole is answered as usual, and its connection closed after it. `_busy` belongs to the pool's
    threads, one entry each, and to the main thread, which looks at a copy and again before it cuts.

    Attributes:
        served: Of each worker one more than the connections that it serves, 0 of one that takes
            none. All processes see it; a worker writes its own, the master that of an ended one.
        number: Which of them this worker is.
        cores: On which it may run.
    """

    served: memoryview
    number: int
    cores: set[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: dict[TConn, float] = {}
        self._limit = Config.from_environment().read_timeout

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, unless another worker that serves fewer does so within a moment."""
        for _ in range(PATIENCE):
            if self.nr_conns < min(filter(None, self.served), default=1):
                break
            time.sleep(0.001)
            if not _is_readable(listener, 0):
                return
        super().accept(listener)
        self._tell()

    def notify(self) -> None:
        """Tell the master that this worker lives, and the others how many connections it serves."""
        super().notify()
        self._tell()

    def _tell(self) -> None:
        self.served[self.number] = self.nr_conns + 1 if self._accepting else 0

    def handle(self, conn: TConn) -> Any:
        """Serve a request, watched, and those that follow on its heels.

        A connection goes to another thread by way of the main thread, which costs both as much as
        a reading does. So it stays, unless that lets others wait for a thread.
        """
        while True:
            self._busy[conn] = time.monotonic()
            try:
                kept = super().handle(conn)
            finally:
                del self._busy[conn]
            nobody_waits = self.tpool._work_queue.empty()  # noqa: SLF001 - there is no other way
            if kept is not True or not self.alive or not nobody_waits:
                return kept
            if not _is_readable(conn.sock, LINGER):
                return kept

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Read what a rejected request still sends, and say whether its connection is kept.

        To close it at once resets it. A client that is still sending then finds a broken pipe, not
        the answer. gunicorn reads 64 KiB, of connections that are kept.
        """
        end = time.monotonic() + self._limit
        whole = conn.parser.finish_body(deadline=end, max_bytes=UNREAD)
        return bool(keepalive and whole)

    def is_parent_alive(self) -> bool:
        """Whether the master lives; where it doesn't, this worker ends as after a signal.

        gunicorn's own goes on for its kept-alive connections until their clients pause. New ones
        wait in its socket, into which the kernel puts a share of the next master's connections.
        """
        if super().is_parent_alive():
            return True
        self.alive = False
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        return False

    def murder_pending(self) -> None:
        """End what is late; gunicorn calls this about once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, since in list(self._busy.items()):
            taken = now - since
            if taken > self._limit and self._busy.get(conn) == since:
                late = taken > TAKING * self._limit
                with suppress(OSError):  # it is closed already
                    conn.sock.shutdown(socket.SHUT_RDWR if late else socket.SHUT_RD)


def _is_readable(sock: socket.socket, milliseconds: float) -> bool:
    """Whether a request, or a connection, is there or comes within so long."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(milliseconds))
