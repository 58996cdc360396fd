"""What is put into gunicorn's own modules, one test a patch, and what of gunicorn it replaces.

Where another gunicorn fails one of these: read what has changed there, and whether it is still to
be replaced. Only then pin the new text.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from gunicorn import glogging, http, util
from gunicorn.config import Config
from gunicorn.http import parser, wsgi
from gunicorn.workers import base
from gunicorn.workers.gthread import TConn, ThreadWorker

from fleetwatt.serving import gunicorn_patches
from tests.waiting import eventually

ADDRESS = ("127.0.0.1", 8000)
OWN_RESPONSE = gunicorn_patches.Response.__mro__[1]
PINNED: dict[Callable[..., Any], str] = {
    OWN_RESPONSE.send_headers: "7aff3b7d004f",
    OWN_RESPONSE._emit_body: "df723e865a1e",
    OWN_RESPONSE.can_sendfile: "24f6012251a6",
    OWN_RESPONSE.write: "a13659ff072c",
    OWN_RESPONSE.close: "1e78fc7777ff",
    util.write_error: "bd0143a03c15",
    ThreadWorker.accept: "f8dcead3dce5",
    ThreadWorker.handle: "ca85c9be3df7",
    ThreadWorker.finish_request: "616e7bb15a00",
    ThreadWorker._keepalive_after: "4ebdbbc8bf5a",
    ThreadWorker.is_parent_alive: "3517612f7763",
    ThreadWorker.murder_pending: "7bf11f464542",
    ThreadWorker.enqueue_req: "c9f428953d24",
    ThreadWorker.murder_keepalived: "4459960c4ccc",
    ThreadWorker.wait_for_and_dispatch_events: "ea969b352482",
    TConn.close: "6d1c334ed197",
    parser.SocketUnreader.chunk: "9f62532259f8",
    parser.Parser.__init__: "604084ecb33b",
    ThreadWorker.set_accept_enabled: "140150ebfd3c",
}


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn as the service has it; the other tests of this process find it as it was."""
    replaced = (
        (wsgi, "SERVER"),
        (wsgi, "Response"),
        (util, "write_error"),
        (parser, "SocketUnreader"),
    )
    for module, name in replaced:
        monkeypatch.setattr(module, name, getattr(module, name))
    gunicorn_patches.install()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's end of a connection that keeps apart what is sent apart."""
    server, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(60)
    with closing(server), closing(client):
        yield server, client


def answered(ends: tuple[socket.socket, socket.socket]) -> list[bytes]:
    """What the client gets to a request whose answer is `yes`, as it was sent piece by piece."""
    server, client = ends
    client.sendall(b"GET / HTTP/1.1\r\nHost: fleetwatt\r\n\r\n")
    config = Config()
    request = next(http.get_parser(config, server, ADDRESS))
    response, _ = wsgi.create(request, server, ADDRESS, ADDRESS, config)
    response.start_response("200 OK", [("Content-Length", "3")])
    response.write(b"yes")
    response.close()
    server.shutdown(socket.SHUT_WR)
    return list(iter(lambda: client.recv(65_536), b""))


def refused(ends: tuple[socket.socket, socket.socket]) -> bytes:
    """What the client gets to what is no request."""
    server, client = ends
    config = Config()
    worker = base.Worker(0, os.getpid(), [], None, 30, config, glogging.Logger(config))
    with closing(worker.tmp):
        worker.handle_error(None, server, ADDRESS, http.errors.InvalidRequestLine("NONSENSE"))
    return client.recv(65_536)


@pytest.mark.usefixtures("patched")
def test_an_answer_names_fleetwatt_and_no_version(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    assert b"\r\nServer: fleetwatt\r\n" in answered(ends)[0]


@pytest.mark.usefixtures("patched")
def test_the_head_of_an_answer_is_sent_with_its_body(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    (sent,) = answered(ends)

    assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert sent.endswith(b"\r\n\r\nyes")


@pytest.mark.usefixtures("patched")
def test_what_is_no_request_is_answered_with_a_problem(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    head, body = refused(ends).split(b"\r\n\r\n")

    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body)["status"] == 400


@pytest.mark.usefixtures("patched")
def test_a_thread_lets_it_be_known_while_it_waits_for_its_client(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, _ = ends
    with ThreadPoolExecutor() as pool:
        answering = pool.submit(next, http.get_parser(Config(), server, ADDRESS))
        eventually(lambda: server in gunicorn_patches.awaited, "no thread waits")
        sides, _ = gunicorn_patches.awaited[server]
        server.shutdown(sides)

        assert isinstance(answering.exception(), http.errors.NoMoreData | StopIteration)
    assert gunicorn_patches.awaited == {}


def test_gunicorn_itself_would_send_the_head_apart_and_say_its_name_and_a_page(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """What the patches are for: where this fails, one of them may go."""
    page = refused(ends)
    head, body = answered(ends)

    assert b"\r\nContent-Type: text/html\r\n" in page
    assert b"\r\nServer: gunicorn\r\n" in head
    assert body == b"yes"


@pytest.mark.parametrize("own", PINNED, ids=lambda own: str(own.__qualname__))
def test_what_is_replaced_of_gunicorn_is_as_it_was(own: Callable[..., Any]) -> None:
    assert hashlib.sha256(inspect.getsource(own).encode()).hexdigest()[:12] == PINNED[own]
