"""The headers that a proxy in front sets, and those that every answer has for browsers."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask, Response

    from fleetwatt.config import Config

_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
# What the operator's page may do: run our own scripts and ask this server. No script may make
# another from text (Trusted Types), whatever a device calls itself.
_OWN_PAGE = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def register(app: Flask, config: Config) -> None:
    """Believe the proxies that the settings name, and add our headers to every answer."""
    if config.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=config.proxies, x_proto=config.proxies
        )
    app.wsgi_app = _with_headers(app.wsgi_app)  # type: ignore[assignment, method-assign]


def _with_headers(app: WSGIApplication) -> WSGIApplication:
    """Add the headers to every answer, at a tenth of what Flask's own hook would cost."""

    def answered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            given = {name for name, _ in headers}
            headers[:] = [
                (name, _own_path(value) if name == "Location" else value) for name, value in headers
            ]
            headers += [header for header in _HEADERS if header[0] not in given]
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return answered


def _own_path(location: str) -> str:
    """Return where a redirection leads on this server, whatever host the request has named."""
    parts = urlsplit(location)
    return urlunsplit(("", "", parts.path, parts.query, parts.fragment))


def allow_own_page(response: Response) -> Response:
    """Let the operator's page run its own scripts and ask this server, and nothing else."""
    if response.status_code < 400:
        response.headers.extend(_OWN_PAGE)
    return response


def allow_page(response: Response) -> Response:
    """Let the documentation's page run its own scripts and style itself, and ask this server."""
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = _page_policy(response)
    return response


def _page_policy(response: Response) -> str:
    response.direct_passthrough = False
    scripts = [
        base64.b64encode(sha256(script).digest()).decode()
        for script in _INLINE_SCRIPT.findall(response.get_data())
    ]
    hashes = "".join(f" 'sha256-{digest}'" for digest in scripts)
    return (
        f"default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
