"""API keys: how one is made, what is kept of it, and whether a given one is valid.

A key reads `fw_` and 12 hexadecimal digits, the prefix, by which it is found and named; then `_`,
the secret of 256 random bits, and a checksum (CRC-32), by which junk is recognized without asking
the database. Keys that were made before have no checksum. The database has the SHA-256 of the
whole, nothing more.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from fleetwatt.streams import STREAMS, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

INGEST, READ, ADMIN = SCOPES = ("ingest", "read", "admin")
KEPT = 5.0  # seconds for which a process doesn't ask whether a key has changed
_FORMAT = re.compile(r"((fw_[0-9a-f]{12})_[A-Za-z0-9_-]{43})([0-9a-f]{8})?", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """What is known of an API key.

    Attributes:
        scopes: What it may do; admin implies the others.
        devices: The ids of the only devices that it may write for, by stream; None: all.
        names_kinds: Whether it was made for devices of a kind; else an id stands for either kind.
        seconds_left: Until it expires or is revoked, by the database's clock when it was read;
            None: for ever.
    """

    prefix: str
    hash: bytes
    name: str
    scopes: frozenset[str]
    devices: Mapping[Stream, frozenset[str]] | None
    names_kinds: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    seconds_left: float | None

    @classmethod
    def from_row(cls, row: Row) -> ApiKey:
        """Build it from a row of api_keys."""
        return cls(
            **row
            | {
                "hash": bytes(row["hash"]),
                "scopes": frozenset(SCOPES if ADMIN in row["scopes"] else row["scopes"]),
                "devices": _by_stream(row["devices"], names_kinds=row["names_kinds"]),
            }
        )

    def refusal(self, age: float = 0.0) -> str | None:
        """Say why it isn't valid any more, or None.

        Args:
            age: Seconds since it was read from the database.
        """
        if self.seconds_left is None or self.seconds_left > age:
            return None
        ends_by_revocation = self.revoked_at and (
            self.expires_at is None or self.revoked_at <= self.expires_at
        )
        return "was revoked" if ends_by_revocation else "has expired"


def _by_stream(
    devices: Sequence[str] | None, *, names_kinds: bool
) -> dict[Stream, frozenset[str]] | None:
    if devices is None:
        return None
    if not names_kinds:
        return dict.fromkeys(STREAMS, frozenset(devices))
    pairs = [device.split(":", 1) for device in devices]
    return {
        stream: frozenset(device for kind, device in pairs if kind == stream.name)
        for stream in STREAMS
    }


def generate() -> tuple[str, str, bytes]:
    """Make a key: its prefix, the whole that its owner gets, and the hash that is kept."""
    prefix = f"fw_{secrets.token_hex(6)}"
    unchecked = f"{prefix}_{secrets.token_urlsafe(32)}"
    whole = unchecked + _checksum(unchecked)
    return prefix, whole, digest(whole)


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"


def digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def prefix_of(key: str) -> str | None:
    """Return a key's prefix, or None for what can't be a key."""
    match = _FORMAT.fullmatch(key)
    if match is None or match[3] not in {None, _checksum(match[1])}:
        return None
    return match[2]


class KnownKey(NamedTuple):
    """A key, and why it isn't valid any more; None: it is."""

    key: ApiKey
    refusal: str | None


class Keyring:
    """The keys of a database, remembered by a process.

    Every `KEPT` seconds the keyring asks the database whether any key has changed, and if so
    forgets all of them. So every process heeds a revocation within that time. Where the database
    does not answer, the caller gets its error.

    Whether a key is valid is for the database's clock to say: a process counts the seconds since it
    read the key.

    Threads share `_known`, `_seen` and `_asked` without a lock: the worst that a race costs is one
    more look. A row that was read before a change can't outlive it, since it goes into the
    dictionary that was current before the reading.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[ApiKey, float]] = {}
        self._seen: set[bytes] = set()
        self._version: int | None = None
        self._asked = -KEPT

    def known(self, key: str, prefix: str) -> KnownKey | None:
        """Return a key that this process has seen before, or None."""
        self._forget_if_changed()
        return self.remembered(key, prefix)

    def remembered(self, key: str, prefix: str) -> KnownKey | None:
        """Return a key that was valid when this process saw it, without asking the database."""
        found = self._known.get(prefix)
        if found is None or not _fits(found[0], key):
            return None
        return KnownKey(found[0], found[0].refusal(monotonic() - found[1]))

    def was_valid(self, key: str) -> bool:
        """Return whether this process has ever seen this very key."""
        return digest(key) in self._seen

    def looked_up(self, key: str, prefix: str) -> KnownKey | None:
        """Return a key from the database, valid or not, or None if there is none."""
        known, asked = self._known, monotonic()
        row = self._database.query_one("key", prefix=prefix)
        if row is None:
            return None
        found = ApiKey.from_row(row)
        if not _fits(found, key):
            return None
        known[prefix] = found, asked
        refusal = found.refusal()
        if refusal is None:
            self._seen.add(found.hash)
        return KnownKey(found, refusal)

    def _forget_if_changed(self) -> None:
        now = monotonic()
        if now - self._asked < KEPT:
            return
        row = self._database.query_one("keys_version")
        version = row["version"] if row else None
        if version != self._version:
            self._known, self._version = {}, version
        self._asked = now


def _fits(found: ApiKey, key: str) -> bool:
    return hmac.compare_digest(found.hash, digest(key))
