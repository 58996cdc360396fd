"""The page's files: read once, compressed once, and named by what they hold."""

from __future__ import annotations

import functools
import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class File:
    """A file as it is sent.

    Attributes:
        content_type: Its media type, with the charset where it is text.
        plain, compressed: Its bytes, as they are and by gzip.
    """

    content_type: str
    plain: bytes
    compressed: bytes

    @classmethod
    def of(cls, name: str, plain: bytes) -> File:
        """Make it of a name, whose ending says its type, and of what it holds."""
        # Without the time, so that all processes send the same bytes.
        return cls(MEDIA_TYPES[Path(name).suffix], plain, gzip.compress(plain, 9, mtime=0))


@dataclass(frozen=True)
class Files:
    """All files of the page.

    Attributes:
        digest: Stands for what all of them hold; it is part of their address, so that a browser
            may keep them for ever and no page mixes the files of two releases.
        by_name: Those below the page, by their path in the folder.
        index: The page itself, with the digest where it says `{digest}`.
    """

    digest: str
    by_name: dict[str, File]
    index: File


@functools.cache
def load() -> Files:
    """Read the files."""
    held = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in MEDIA_TYPES
    }
    whole = sha256(b"".join(name.encode() + b"\0" + held[name] for name in held))
    digest = whole.hexdigest()[:16]
    page = held.pop(INDEX).replace(b"{digest}", digest.encode())
    return Files(
        digest,
        {name: File.of(name, plain) for name, plain in held.items()},
        File.of(INDEX, page),
    )
