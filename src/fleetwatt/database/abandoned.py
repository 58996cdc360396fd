"""Ends questions whose client is gone: they keep others waiting.

The thread that asks can't look: it waits inside libpq. So another one does, now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import psycopg2

from fleetwatt.database.errors import Abandoned

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

IsGone = Callable[[], bool]

# Whether the client of this thread's request is gone; None: no request is served.
_client: ContextVar[IsGone | None] = ContextVar("client", default=None)


@dataclass(eq=False)
class _Question:
    """What a connection is asked for a client.

    Attributes:
        lock: Held to end the question or to cancel it: what has ended is never cancelled, else
            that would hit what the connection is asked next.
    """

    connection: Connection
    is_gone: IsGone
    lock: Lock = field(default_factory=Lock)
    ended: bool = False
    cancelled: bool = False


_questions: set[_Question] = set()


@contextmanager
def client(is_gone: IsGone) -> Iterator[None]:
    """Say how to find out whether the client is gone for which this thread works meanwhile."""
    token = _client.set(is_gone)
    try:
        yield
    finally:
        _client.reset(token)


@contextmanager
def watched(connection: Connection) -> Iterator[None]:
    """Let what the connection is asked meanwhile be cancelled once its client is gone.

    Only for questions: a write that is cancelled may be stored, and is not confirmed.

    Raises:
        Abandoned: The client is gone already.
    """
    is_gone = _client.get()
    if is_gone is None:
        yield
        return
    if is_gone():
        raise Abandoned("the client is gone")
    question = _Question(connection, is_gone)
    _questions.add(question)
    try:
        yield
    finally:
        _questions.discard(question)
        with question.lock:
            question.ended = True
        if question.cancelled:
            # The server may have been asked to cancel after it had answered.
            connection.close()


def cancel() -> None:
    """Cancel the questions whose clients are gone; to be called every second.

    It asks the server, and waits as long as that stands still.
    """
    for question in list(_questions):
        if not question.cancelled and question.is_gone():
            with question.lock:
                question.cancelled = not question.ended
            if question.cancelled:
                # It may have been closed by now.
                with suppress(psycopg2.Error):
                    question.connection.cancel()
