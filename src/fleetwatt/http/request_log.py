"""A line and a count for each request, with an id that the client gets back."""

from __future__ import annotations

import logging
import random
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import request

from fleetwatt.observability import logs, metrics

if TYPE_CHECKING:
    from flask import Flask, Response

    from fleetwatt.config import Config

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def register(app: Flask, config: Config) -> None:
    """Log an app's requests and count them, and name each in the answer's X-Request-Id."""
    sample = logs.Sample(config.log_requests)

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


def audit(event: str, **facts: Any) -> None:
    """Log an administrative act or a refusal with the request's id and where it is from."""
    logs.audit(
        event,
        **facts,
        request_id=request.environ["fleetwatt.request_id"],
        address=request.remote_addr,
        method=request.method,
        path=request.path,
    )
