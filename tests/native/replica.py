"""A streaming replica of a native server, made by pg_basebackup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.native.binaries import run
from tests.native.server import NativeServer, give_away, unprivileged

if TYPE_CHECKING:
    from collections.abc import Mapping

# A query that stands in the way of replay is canceled at once.
IMPATIENT = {"max_standby_streaming_delay": "0", "hot_standby_feedback": "off"}


class NativeReplica(NativeServer):
    """A hot standby that streams from another server; otherwise as that one.

    Attributes:
        url: As the primary's, which it shares accounts with, on a port of its own.
    """

    def __init__(self, primary: NativeServer, settings: Mapping[str, str] | None = None) -> None:
        """Takes settings that override the primary's."""
        super().__init__(IMPATIENT | dict(settings or {}))
        self._primary = primary
        self.url = primary.url.replace(f":{primary.port}/", f":{self.port}/")

    def _initialize(self) -> None:
        give_away(self.folder)
        command = [*unprivileged(), self._bindir / "pg_basebackup", f"--pgdata={self.data}"]
        options = ["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--write-recovery-conf"]
        run(*command, *options, f"--dbname={self._primary.url}")
        # The copy has the primary's postgresql.conf; what is appended to it counts.
        self._configure(self.settings)
