"""A request's body: how it is encoded, and its bytes as far as they arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import ClientDisconnected

from fleetwatt.http.problems import CutShort

if TYPE_CHECKING:
    from flask import Request


def encoding_of(request: Request) -> str:
    """Return a body's Content-Encoding; `identity` where it is empty or missing."""
    return (request.headers.get("Content-Encoding") or "identity").lower()


def received(request: Request, most: int = -1) -> bytes:
    """Read a request's body, up to `most` bytes; -1: all of it.

    Raises:
        CutShort: The body ended before its announced length, or within a chunk.
    """
    try:
        sent = request.stream.read(most)
    except (OSError, ClientDisconnected) as error:
        raise CutShort("the connection ended within the body") from error
    if len(sent) != most and len(sent) < (request.content_length or 0):
        raise CutShort(f"{len(sent)} of {request.content_length} bytes arrived in time")
    return sent
