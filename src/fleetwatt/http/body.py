"""A request's body: how it is encoded, and its bytes as far as they arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import ClientDisconnected

from fleetwatt.http.problems import CutShort
from fleetwatt.ingestion.split import NotJson

if TYPE_CHECKING:
    from flask import Request

_GZIP = b"\x1f\x8b"  # RFC 1952, section 2.3.1


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


def check_plain(sent: bytes, remedy: str) -> None:
    """Make sure that a body without a Content-Encoding does not look compressed.

    Args:
        sent: The body.
        remedy: What its sender is to do.

    Raises:
        NotJson: It begins as gzip does.
    """
    if sent.startswith(_GZIP):
        raise NotJson(
            f"the body begins with 1f 8b, as gzip does, and has no Content-Encoding: {remedy}"
        )
