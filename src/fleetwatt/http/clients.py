"""Whether the client of a request is still there."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

from fleetwatt.database import abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

_ESTABLISHED = 1  # of tcp_states.h


def register(app: Flask) -> None:
    """Let questions be cancelled that an app asks for clients that are gone, where gunicorn is."""
    app.wsgi_app = _watching(app.wsgi_app)  # type: ignore[assignment, method-assign]


def _watching(app: WSGIApplication) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        own = environ.get("gunicorn.socket")
        if own is None:
            return app(environ, start_response)
        with abandoned.client(partial(is_gone, own)):
            return app(environ, start_response)

    return answer


def is_gone(own: socket.socket) -> bool:
    """Whether the other side of a connection has closed it, or stopped sending for good.

    The kernel says so, whatever was sent and not read before. It does on Linux and for TCP;
    elsewhere a client counts as there.
    """
    try:
        return own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED
    except (AttributeError, OSError):
        return False
