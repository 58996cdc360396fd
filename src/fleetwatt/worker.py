"""gunicorn's threaded worker, with an end to requests that take too long to arrive, and its own.

A thread reads its request by blocking calls: without an end, thirty clients that send a byte now
and then hold all threads of a worker.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.http import wsgi
from gunicorn.workers.gthread import TConn, ThreadWorker

from fleetwatt.config import Config

# Its version is nobody's business.
wsgi.SERVER = "fleetwatt"

TAKING = 5  # times as long as a request may arrive, its answer may be taken


class Worker(ThreadWorker):  # type: ignore[misc]
    """Cuts the reading side of a connection when its request is late, then both.

    A request whose body was being read is still answered, with what it lacks; one that had arrived
    doesn't notice, but that its connection serves no other. `_busy` belongs to the pool's threads
    one entry each, and to the main thread, which looks at a copy.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: dict[TConn, float] = {}
        self._limit = Config.from_environment().read_timeout

    def handle(self, conn: TConn) -> Any:
        """Serve a request, watched."""
        self._busy[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._busy[conn]

    def is_parent_alive(self) -> bool:
        """Whether the master lives; where it doesn't, this worker ends as if it had been told to.

        gunicorn's own goes on for its kept-alive connections until their clients pause, and lets
        new ones wait in its socket, into which the kernel puts a share of what the next master's
        workers ought to get.
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
            if taken > self._limit:
                late = taken > TAKING * self._limit
                with suppress(OSError):  # it is closed already
                    conn.sock.shutdown(socket.SHUT_RDWR if late else socket.SHUT_RD)
