"""Logs: one JSON object a line, and a line a request with an id that the client gets back.

Under load most lines would only say that all is well: of those a bounded number a second is logged,
and a line says how many were left out before it. Errors and slow requests are logged in any case.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import has_request_context, request

from fleetwatt.observability import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Response

    from fleetwatt.config import Config

log = logging.getLogger(__name__)
_audit = logging.getLogger("fleetwatt.audit")

_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def settings(config: Config) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes: every line to stderr, in the format asked."""
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
            "audit": {"class": "logging.StreamHandler", "formatter": "json"},
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


def audit(event: str, **facts: Any) -> None:
    """Log an administrative act or a refusal; in a request, with its id and where it is from."""
    if has_request_context():
        facts |= {
            "request_id": request.environ["fleetwatt.request_id"],
            "address": request.remote_addr,
            "method": request.method,
            "path": request.path,
        }
    _audit.info(event, extra=facts)


def register(app: Flask, config: Config) -> None:
    """Log an app's requests and count them, and name each in the answer's X-Request-Id."""
    sample = Sample(config.log_requests)

    @app.before_request
    def start() -> None:
        environ = request.environ
        environ["fleetwatt.started"] = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        # Not uuid4(): it asks the kernel, at which threads queue up for the interpreter again.
        request_id = given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        environ["fleetwatt.request_id"] = request_id

    @app.after_request
    def finish(response: Response) -> Response:
        environ, rule = request.environ, request.url_rule
        request_id, method = environ["fleetwatt.request_id"], environ["REQUEST_METHOD"]
        seconds = time.perf_counter() - environ["fleetwatt.started"]
        status = response.status_code
        response.headers.add("X-Request-Id", request_id)
        metrics.answered(method, rule.rule if rule else None, status, seconds)
        if log.isEnabledFor(logging.INFO):
            always = status >= 400 or seconds >= config.log_slow
            left_out = sample.take(always=always)
            if left_out is not None:
                extra = {"request_id": request_id, "ms": round(seconds * 1000, 2)}
                log.info(
                    "%s %s %d",
                    method,
                    quote(request.path),
                    status,
                    extra=extra | ({"left_out": left_out} if left_out else {}),
                )
        return response


class Sample:
    """Which requests are logged: so many a second of a process, and those that always are.

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
