"""The app behind a network that a test can make faulty."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from fleetwatt.simulation.client import Client

WSGI = Callable[[dict[str, Any], Any], Any]


class Front:
    """What stands before the app and counts requests; `faults` come first, in their order.

    A fault is an answer, as `("503 Busy", {"Retry-After": "1"})`, or "cut": the app does what was
    asked, and nobody hears it. After those, `chance_of_fault` decides.
    """

    def __init__(self, app: WSGI) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.faults: list[Any] = []
        self.chance_of_fault = 0.0
        self._app = app
        self._chance = Random(1)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.requests.append(environ)
        fault = self.faults.pop(0) if self.faults else self._fault()
        if fault is None:
            return self._app(environ, start_response)
        if fault == "cut":
            list(self._app(environ, lambda *_: None))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        status, headers = fault
        start_response(status, list(headers.items()))
        return [b""]

    def _fault(self) -> Any:
        if self._chance.random() >= self.chance_of_fault:
            return None
        return self._chance.choice(["cut", ("503 Busy", {}), ("502 Bad Gateway", {})])


@pytest.fixture
def front(app: Flask) -> Iterator[Front]:
    yield from _served(Front(app))


@pytest.fixture
def echo() -> Iterator[Front]:
    """The same without an app: every request is answered with {}."""

    def answer(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("201 Created", [("Content-Type", "application/json")])
        return [b"{}"]

    yield from _served(Front(answer))


def _served(front: Front) -> Iterator[Front]:
    server = make_server("127.0.0.1", 0, front, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    front.url = f"http://127.0.0.1:{server.port}"
    yield front
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def poster(echo: Front, said: list[str]) -> Iterator[Client]:
    client = Client(echo.url, patience=20, say=said.append)
    yield client
    client.close()
