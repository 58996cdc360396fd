"""Under which host names the service answers, where keys are off.

A page of a foreign site can have its own name resolve to this machine (DNS rebinding). Then it
posts and reads here with its visitor's browser. It can't choose the name that the browser sends.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import request
from werkzeug.sansio.utils import host_is_trusted

from fleetwatt.http.problems import Misdirected

if TYPE_CHECKING:
    from flask import Flask

    from fleetwatt.config import Config


def register(app: Flask, config: Config) -> None:
    """Reject requests for other host names than loopback's and those that the settings allow."""
    if config.auth == "required":
        return
    allowed = [name.strip() for name in config.allowed_hosts.split(",") if name.strip()]

    @lru_cache(maxsize=100)
    def is_served(host: str) -> bool:
        # An empty list would trust every name.
        return _is_loopback(host) or (bool(allowed) and host_is_trusted(host, allowed))

    @app.before_request
    def check() -> None:
        # A request of HTTP/1.0 may name none; no browser sends one.
        host = request.environ.get("HTTP_HOST", "")
        if host and not is_served(host):
            raise Misdirected(
                "Keys are off, and this host name is none of FLEETWATT_ALLOWED_HOSTS, nor "
                "loopback's."
            )


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
