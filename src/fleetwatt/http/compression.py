"""Compresses answers for the clients that accept it: zstd (RFC 8878) or gzip (RFC 1952)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import request
from flask_compress import Compress

if TYPE_CHECKING:
    from flask import Flask, Response

MIN_BYTES = 1000  # of an answer that is compressed
_ALGORITHMS = ("zstd", "gzip")
_TYPES = [
    "application/json",
    "application/problem+json",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
]


_COMPRESSED_TAG = re.compile(rf':({"|".join(_ALGORITHMS)})"')


def uncompressed(tags: str) -> str:
    """Return the tags that answers had before they were compressed, for a list of tags."""
    return _COMPRESSED_TAG.sub('"', tags)


def register(app: Flask) -> None:
    """Compress answers of at least `MIN_BYTES`; those that are streamed go as they are."""
    app.config |= {
        "COMPRESS_ALGORITHM": list(_ALGORITHMS),
        "COMPRESS_MIMETYPES": _TYPES,
        "COMPRESS_MIN_SIZE": MIN_BYTES,
        # `caching` has compared tags before.
        "COMPRESS_EVALUATE_CONDITIONAL_REQUEST": False,
        "COMPRESS_REGISTER": False,
    }
    compressed = Compress(app).after_request

    @app.after_request
    def compress(response: Response) -> Response:
        # What a device gets for its readings is short, and comes too often for a look at it.
        if request.method != "GET" or response.is_streamed:
            return response
        return compressed(response)
