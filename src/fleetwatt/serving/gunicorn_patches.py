"""What gunicorn does otherwise here, where it has no setting for it.

`install` puts it into gunicorn's own modules, once, before workers are forked. Each of them
has a test in tests/serving/test_gunicorn_patches.py, which fails where another gunicorn has changed
what is replaced.
"""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from gunicorn import util
from gunicorn.http import parser, unreader, wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

# Sockets on whose clients a thread waits at this moment: which sides to shut to end its wait (one
# that sends its request gets an answer yet), and since when. A thread adds and removes its own.
awaited: dict[socket.socket, tuple[int, float]] = {}
PIECE = 65_536  # bytes that are sent at once: each is a new wait

SERVER = "fleetwatt"  # in the header Server: which version answers concerns clients no further


@contextmanager
def _awaiting(sock: socket.socket, sides: int) -> Iterator[None]:
    awaited[sock] = sides, time.monotonic()
    try:
        yield
    finally:
        del awaited[sock]


class SocketUnreader(unreader.SocketUnreader):  # type: ignore[misc]
    """Reads a request, and lets it be known that it waits for one."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return what arrives next."""
        with _awaiting(self.sock, socket.SHUT_RD):
            arrived: bytes = super().chunk(size_hint)
        return arrived


class Response(wsgi.Response):  # type: ignore[misc]
    """Sends the head of an answer together with its body's first piece: one packet, one call."""

    headers_sent: bool
    _head = b""

    def send_headers(self) -> None:
        """Keep the head until there is something to send with it."""
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers)]
        self._head = ("".join(lines) + "\r\n").encode("latin-1")
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        head, self._head = self._head, b""
        self._send(head + data if head else data)

    def _send(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            with _awaiting(self.sock, socket.SHUT_RDWR):
                self.sock.sendall(data[start : start + PIECE])

    def can_sendfile(self) -> bool:
        """Leave files to `write`: the kernel would send one before its head."""
        return False

    def close(self) -> None:
        """Send what is left."""
        self.send_headers()
        if self._head:
            self._send(self._head)
            self._head = b""
        super().close()


def write_problem(sock: socket.socket, status: int, reason: str, message: str) -> None:
    """Answer what is no request as every error is answered, where gunicorn would write a page."""
    # Not above: the master loads this module, and what it has loaded survives a reload.
    from fleetwatt.http import problems

    problem = problems.document(problems.of_status(status, reason), message or reason)
    body = msgspec.json.encode(problem)
    head = (
        f"HTTP/1.1 {status} {reason}\r\nServer: {SERVER}\r\nConnection: close\r\n"
        f"Content-Type: {problems.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + body)


def install() -> None:
    """Let gunicorn name no version, send a head with its body, and answer with problems.

    Its threads let it be known when they wait for their clients.
    """
    parser.SocketUnreader = SocketUnreader
    wsgi.SERVER = SERVER
    wsgi.Response = Response
    util.write_error = write_problem
