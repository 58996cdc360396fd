"""gunicorn's threaded worker, with an end to what clients keep it waiting for, and its own.

A thread reads its request and sends its answer by blocking calls: without an end, a few dozen
clients that send a byte now and then, or take no answer, hold all threads of a worker. So a thread
gets a connection once its request begins to arrive, and loses it where others wait.

Workers leave a new connection to the one that serves the fewest: else the first to wake up takes
what there is, and keeps it as long as its clients like.
"""

from __future__ import annotations

import array
import fcntl
import select
import selectors
import socket
import termios
import time
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn import glogging
from gunicorn.workers.gthread import TConn, ThreadWorker

from fleetwatt.config import Config
from fleetwatt.http.addresses import client_of
from fleetwatt.serving import gunicorn_patches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future


class Logger(glogging.Logger):  # type: ignore[misc]
    """Writes no access log, and does not put one together: the app logs its requests itself."""

    access_log_enabled = False


LINGER = 4  # milliseconds that a thread waits for the next request of the connection that it served
UNREAD = 100_000_000  # bytes of a rejected body that are read before its connection is closed
TAKING = 5  # times as long as a request may arrive, its answer may be taken
# Seconds that a client may let a thread wait, at once and in all, while requests wait for one.
PRESSED, PRESSED_IN_ALL = 1, 10
SILENCE = 5  # seconds until the first request of a connection begins
LEAVING = 2  # seconds that a client has to read its last answer before its connection is closed
LEFT_OVER = 65_536  # bytes that it may send meanwhile
PATIENCE = 20  # times a millisecond or more that a worker leaves a connection to the others
LOOK = 0.05  # seconds between looks at clients that keep others waiting


class Connection(TConn):  # type: ignore[misc]
    """A connection.

    Attributes:
        client_name: Whose limits it counts for; empty: a local socket's, or a proxy's, which have
            none.
        left_over: Bytes that came after its last answer.
    """

    def __init__(self, *args: Any, behind_proxy: bool) -> None:
        super().__init__(*args)
        by_address = isinstance(self.client, tuple) and not behind_proxy
        self.client_name = client_of(self.client[0]) if by_address else ""
        self.left_over = 0


class Worker(ThreadWorker):  # type: ignore[misc]
    """Cuts the reading side of a connection when its request is late, then both.

    A request whose body was being read is still answered, with what it lacks; one that had arrived
    whole is answered as usual, and its connection closed after it. `_busy` belongs to the pool's
    threads, one entry each, and to the main thread, which looks at a copy and again before it cuts.
    All that is counted by client, and all lines of connections, belong to the main thread.

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
        config = Config.from_environment()
        self._busy: dict[Connection, float] = {}
        self._limit = config.read_timeout
        self._behind_proxy = config.proxies > 0
        self._most_of_a_client = config.address_connections or self.worker_connections
        self._share = self.cfg.threads - self.cfg.threads // 4  # of the threads, for one client
        self._connections: Counter[str] = Counter()
        self._in_threads: Counter[str] = Counter()
        self._given = 0  # requests that threads have or will get
        self._lines: dict[str, deque[Connection]] = {}
        self._untaken: deque[Connection] = deque()
        self._leaving: deque[Connection] = deque()

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, unless another worker that serves fewer does so within a moment.

        Its request goes to a thread once it begins. Where there are too many connections already,
        one that is silent makes room.
        """
        for _ in range(PATIENCE):
            if self.nr_conns < min(filter(None, self.served), default=1):
                break
            time.sleep(0.001)
            if not _is_readable(listener, 0):
                return
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        given = (self.cfg, sock, address, listener.getsockname())
        conn = Connection(*given, behind_proxy=self._behind_proxy)
        has_room = self._make_room(conn.client_name)
        self.nr_conns += 1
        self._connections[conn.client_name] += 1
        self._tell()
        if not has_room:
            gunicorn_patches.write_problem(
                sock, 429, "Too Many Requests", "too many requests of this address are under way"
            )
            self._leave(conn)
            return
        conn.timeout = time.monotonic() + SILENCE
        self._wait(conn, self.pending_conns, self.on_pending_socket_readable)

    def _make_room(self, client: str) -> bool:
        """Close the longest silent one where connections are too many, and say whether it helps."""
        if client and self._connections[client] >= self._most_of_a_client:
            return self._close_a_silent_one(client)
        # One less than gunicorn stops at: it would let all others wait until one has ended.
        if self.nr_conns >= self.worker_connections - 1:
            return self._close_a_silent_one(None)
        return True

    def _close_a_silent_one(self, client: str | None) -> bool:
        """Close one that no request is under way on, of a client or (None) of any."""
        for silent in (self._leaving, self.pending_conns, self.keepalived_conns, self._untaken):
            for conn in silent:
                if client in (None, conn.client_name):
                    silent.remove(conn)
                    self._close(conn)
                    return True
        return False

    def _wait(self, conn: Connection, line: deque[Connection], then: Any) -> None:
        """Put a connection in a line until something arrives on it."""
        conn.sock.setblocking(False)
        line.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(then, conn))

    def _close(self, conn: Connection) -> None:
        """Close a connection that stands in no line any more."""
        with suppress(OSError, KeyError, ValueError):  # it waited for nothing
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        _count_off(self._connections, conn.client_name)
        conn.close()

    def _leave(self, conn: Connection) -> None:
        """Close a connection once its client has read the last answer.

        At once would reset it, where something is left to be read, and take the answer away.
        """
        conn.timeout = time.monotonic() + LEAVING
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self._wait(conn, self._leaving, self._read_left_over)
        except (OSError, ValueError):  # its client has closed it, or a thread did
            with suppress(ValueError):
                self._leaving.remove(conn)
            self._close(conn)

    def _read_left_over(self, conn: Connection, sock: socket.socket) -> None:
        try:
            arrived = len(sock.recv(LEFT_OVER))
        except BlockingIOError:
            return
        except OSError:
            arrived = 0
        conn.left_over += arrived
        if not arrived or conn.left_over > LEFT_OVER:
            self._leaving.remove(conn)
            self._close(conn)

    def notify(self) -> None:
        """Show the master that this worker lives, and the others how many connections it serves."""
        super().notify()
        self._tell()

    def _tell(self) -> None:
        self.served[self.number] = self.nr_conns + 1 if self._accepting else 0

    def enqueue_req(self, conn: Connection) -> None:
        """Give a request to the threads, unless it has to wait in line.

        It does until its client has taken the answer before, and until the client has less than
        its share of the threads.
        """
        client = conn.client_name
        if _has_untaken(conn.sock):
            conn.timeout = time.monotonic() + TAKING * self._limit
            self._untaken.append(conn)
        elif client and self._in_threads[client] >= self._share:
            self._lines.setdefault(client, deque()).append(conn)
        else:
            self._in_threads[client] += 1
            self._given += 1
            super().enqueue_req(conn)

    def finish_request(self, conn: Connection, done: Future[Any]) -> None:
        """Let a client's next request have the thread, and keep or leave a connection."""
        client = conn.client_name
        _count_off(self._in_threads, client)
        self._given -= 1
        line = self._lines.pop(client, deque())
        while line and self._in_threads[client] < self._share:
            self.enqueue_req(line.popleft())
        if line:
            self._lines[client] = line
        kept = not done.cancelled() and not done.exception() and done.result() is True
        if not kept:
            self._leave(conn)
        elif conn.parser.unreader.buf.getvalue():
            # The next request has been read already: no socket will say so.
            self.enqueue_req(conn)
        else:
            conn.set_timeout()
            self._wait(conn, self.keepalived_conns, self.on_client_socket_readable)
            if not self.alive:
                self._cap_keepalive(time.monotonic() + LEAVING)

    def handle(self, conn: Connection) -> Any:
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
            if kept is not True or not self.alive or self._is_pressed():
                return kept
            if not _is_readable(conn.sock, LINGER) or _has_untaken(conn.sock):
                return kept

    def _is_pressed(self) -> bool:
        """Whether requests wait for a thread."""
        return bool(self._lines) or self._given > self.cfg.threads

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

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do what there is to do; nothing says when an answer was taken, or a client is late."""
        look = self._untaken or self._is_pressed()
        super().wait_for_and_dispatch_events(LOOK if look else timeout)

    def murder_keepalived(self, force: bool = False) -> None:
        """End connections that are kept for nothing."""
        for conn in self._late(self.keepalived_conns, time.monotonic(), force=force):
            self._close(conn)

    def murder_pending(self) -> None:
        """End what is late; gunicorn calls this about once a second, and after all that happens."""
        now = time.monotonic()
        for line in (self.pending_conns, self._leaving, self._untaken):
            # A worker that ends waits for no client.
            ends = line is self._untaken and not self.alive
            for conn in self._late(line, now, force=ends):
                self._close(conn)
        untaken, self._untaken = self._untaken, deque()
        for conn in untaken:
            if _has_untaken(conn.sock):
                self._untaken.append(conn)
            else:
                self.enqueue_req(conn)
        self._cut(now)

    def _cut(self, now: float) -> None:
        """Cut the connections that hold a thread for too long.

        What is past the limit is cut in any case; where requests wait, a thread that waits for its
        client is freed long before.
        """
        pressed = self._is_pressed()
        for conn, since in list(self._busy.items()):
            taken = now - since
            sides, waits_since = gunicorn_patches.awaited.get(conn.sock, (None, now))
            if taken > self._limit:
                sides = socket.SHUT_RDWR if taken > TAKING * self._limit else socket.SHUT_RD
            elif not pressed or (now - waits_since < PRESSED and taken < PRESSED_IN_ALL):
                continue
            if sides is not None and self._busy.get(conn) == since:
                with suppress(OSError):  # it is closed already
                    conn.sock.shutdown(sides)

    @staticmethod
    def _late(line: deque[Connection], now: float, *, force: bool = False) -> Iterator[Connection]:
        """Take from a line those whose time is up: they stand in it in that order."""
        while line and (force or line[0].timeout <= now):
            yield line.popleft()


def _is_readable(sock: socket.socket, milliseconds: float) -> bool:
    """Whether a request, or a connection, is there or comes within so long."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _has_untaken(sock: socket.socket) -> bool:
    """Whether the client's side has yet to take some of what was sent; only Linux knows.

    It goes on to say so of one that is gone: that takes nothing any more.
    """
    poll = select.poll()
    poll.register(sock, 0)
    if poll.poll(0):
        return False
    waiting = array.array("i", [0])
    with suppress(OSError, ValueError):
        fcntl.ioctl(sock, termios.TIOCOUTQ, waiting)
    return waiting[0] > 0


def _count_off(counts: Counter[str], name: str) -> None:
    """Count one less, and forget whose count is nought."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
