"""Logs: one JSON object a line, and which requests get one.

Under load most lines would only say that a request succeeded. Of those, a bounded number a second
is logged, and a line says how many were left out before it. Errors and slow requests are always
logged.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetwatt.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetwatt.config import Config

SYSTEM_LOG = Path("/dev/log")
_audit = logging.getLogger("fleetwatt.audit")


def settings(config: Config, *, on_terminal: bool = False) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes: every line to stderr, in the format asked.

    Args:
        config: Names the file to which audit lines are appended instead, if there is one.
        on_terminal: Whether stderr is a person's screen, which keeps no record: then audit lines go
            to the system's log, where it takes them.

    Raises:
        ConfigError: The file can't be written.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "format": "{asctime}{levelname}{name}{message}",
                "style": "{",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            },
            "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": config.log_format},
            "audit": _audit_handler(config.audit_log, on_terminal=on_terminal)
            | {"formatter": "json"},
        },
        "root": {"level": config.log_level, "handlers": ["stderr"]},
        "loggers": {
            # Whatever else is logged, and in whatever format.
            "fleetwatt.audit": {
                "level": "INFO",
                "handlers": ["audit"],
                "propagate": False,
            },
            "gunicorn.error": {"handlers": [], "propagate": True},
        },
    }


def _audit_handler(file: str, *, on_terminal: bool) -> dict[str, Any]:
    if file:
        try:
            Path(file).open("a").close()
        except OSError as error:
            raise ConfigError(
                f"FLEETWATT_AUDIT_LOG={file!r}: can't be written ({error.strerror}): name a file "
                "that this user may append to"
            ) from None
        # It opens the file again where something has rotated it.
        return {"class": "logging.handlers.WatchedFileHandler", "filename": file}
    if on_terminal and SYSTEM_LOG.is_socket():
        return {
            "class": "logging.handlers.SysLogHandler",
            "address": str(SYSTEM_LOG),
            "facility": "authpriv",
        }
    return {"class": "logging.StreamHandler"}


def audit(event: str, **facts: Any) -> None:
    """Log an administrative act or a refusal."""
    _audit.info(event, extra=facts)


class Sample:
    """Chooses the requests that are logged: up to `limit` a second of a process, and errors.

    `_lock` guards the counts of the running second.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._second = 0
        self._taken = self._left_out = 0

    def take(self, *, always: bool) -> int | None:
        """Return how many were left out since the last one that was logged; None: leave it out."""
        with self._lock:
            second = int(self._clock())
            if second != self._second:
                self._second, self._taken = second, 0
            if not always:
                if self._taken >= self._limit:
                    self._left_out += 1
                    return None
                self._taken += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
