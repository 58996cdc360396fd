"""Logs: one JSON object a line, and a line a request with an id that the client gets back."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from flask import g, has_request_context, request

if TYPE_CHECKING:
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
            "fleetwatt.audit": {"level": "INFO", "handlers": ["audit"], "propagate": False},
            "gunicorn.error": {"handlers": [], "propagate": True},
            # The app logs its requests itself.
            "gunicorn.access": {"handlers": [], "level": "WARNING"},
        },
    }


def audit(event: str, **facts: Any) -> None:
    """Log an administrative act or a refusal; in a request, with its id and where it is from."""
    if has_request_context():
        facts |= {
            "request_id": g.request_id,
            "address": request.remote_addr,
            "method": request.method,
            "path": request.path,
        }
    _audit.info(event, extra=facts)


def register(app: Flask) -> None:
    """Log each request of an app, and name it in the answer's X-Request-Id."""

    @app.before_request
    def start() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        g.started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s %d",
                request.method,
                request.path,
                response.status_code,
                extra={
                    "request_id": g.request_id,
                    "ms": round((time.perf_counter() - g.started) * 1000, 2),
                },
            )
        return response
