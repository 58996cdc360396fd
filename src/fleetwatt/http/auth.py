"""Authentication: each request needs an API key, which is checked before anything else is read."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import apispec
from flask import current_app, g, request
from werkzeug.routing import RequestRedirect

from fleetwatt.database.errors import DatabaseError
from fleetwatt.http import problems
from fleetwatt.http.addresses import client_of
from fleetwatt.http.limits import Limits
from fleetwatt.http.problems import Forbidden, RateLimited, Unauthenticated
from fleetwatt.http.request_log import audit
from fleetwatt.security.keys import ADMIN, INGEST, READ, ApiKey, Keyring, prefix_of
from fleetwatt.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

    from fleetwatt.config import Config
    from fleetwatt.database.client import Database

# The longest that fits counts. What stands nowhere here is for administrators.
SCOPES: dict[str, str | None] = {
    "/": None,
    "/web": None,
    "/healthz": None,
    "/readyz": None,
    "/openapi.json": None,
    "/docs": None,
    "/metrics": READ,
    "/v1/key": None,
    "/v1/ingestion": INGEST,
    "/v1/status": READ,
    "/v1/analytics": READ,
    "/v1/mappings": READ,
    "/v1/devices": READ,
    "/v1/sites": READ,
    "/v1/admin": ADMIN,
}
# Where only administrators may change what others read.
KEPT_BY_ADMINISTRATORS = {"/v1/devices", "/v1/sites"}
_READING = {"GET", "HEAD", "OPTIONS"}
# Routes that accept a key seen before while the database is away: metrics are needed most then.
# All other routes need the database anyway.
OFFLINE = {"/metrics"}
# Open routes that answer more to a key of the scope read.
MORE_FOR_READERS = {"/readyz"}
# Open routes that are about the key that a request has: where it has one, it must be valid.
ABOUT_KEYS = {"/v1/key"}
SCHEME = "apiKey"
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


@cache
def scope_of(rule: str, method: str) -> str | None:
    """Return the scope that a request to a route needs, or None for an open one."""
    parts = rule.split("/")
    for length in range(len(parts), 1, -1):
        prefix = "/".join(parts[:length])
        if prefix in KEPT_BY_ADMINISTRATORS and method not in _READING:
            return ADMIN
        if prefix in SCOPES:
            return SCOPES[prefix]
    return ADMIN


def register(app: Flask, config: Config, database: Database) -> None:
    """Let in only those who have a key, where keys are required."""
    app.extensions["fleetwatt.auth"] = config.auth
    if config.auth == "off":
        return
    keyring = Keyring(database)
    limits = Limits(config)

    @app.before_request
    def admit() -> None:
        limits.count("address", client_of(request.remote_addr))
        if _needs_no_key(config):
            return
        # A path without a route needs an administrator's key; none of these paths is remembered.
        scope = scope_of(request.url_rule.rule, request.method) if request.url_rule else ADMIN
        if scope is None:
            if request.path in ABOUT_KEYS and "Authorization" in request.headers:
                key = g.key = _authenticated(keyring, limits)
                limits.count("key", key.prefix)
            if request.path in MORE_FOR_READERS and "Authorization" in request.headers:
                # A rejected key counts as one, and gets the answer of a request without a key.
                with suppress(Unauthenticated, RateLimited, DatabaseError):
                    g.key = _authenticated(keyring, limits)
            return
        key = g.key = _authenticated(keyring, limits)
        limits.count("key", key.prefix)
        if request.url_rule is None:
            return
        if scope not in key.scopes:
            audit("forbidden", key=key.prefix, scope=scope)
            raise Forbidden(f"This needs a key of the scope {scope}; {key.prefix} has none.", scope)
        if scope == ADMIN:
            audit("administration", key=key.prefix)


def _needs_no_key(config: Config) -> bool:
    """Return whether a request says nothing, so that no key is asked for."""
    # A redirect leads to a route that asks for itself.
    if isinstance(request.routing_exception, RequestRedirect):
        return True
    # A browser asks without the key whether a named origin may send a request with it.
    return (
        bool(config.cors_origins)
        and request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and request.routing_exception is None
    )


def devices() -> Mapping[Stream, frozenset[str]] | None:
    """Return the only devices that the request's key may write for, or None for all."""
    key: ApiKey | None = g.get("key")
    return key.devices if key else None


def may(scope: str) -> bool:
    """Return whether the request's key has a scope; where keys are off, every request has all."""
    key: ApiKey | None = g.get("key")
    if key is None:
        # On an open route a request may come without one.
        return not is_required()
    return scope in key.scopes


def is_required() -> bool:
    """Return whether requests need a key here."""
    return bool(current_app.extensions["fleetwatt.auth"] == "required")


def known_key() -> ApiKey | None:
    """Return the request's key, or None where it came without one."""
    key: ApiKey | None = g.get("key")
    return key


def author() -> str:
    """Return who makes the request's changes: its key's prefix, or that keys are off."""
    key: ApiKey | None = g.get("key")
    return key.prefix if key else "keys are off"


def check_device(stream: Stream, device: str) -> None:
    """Make sure that the request's key may write for a device.

    Raises:
        Forbidden: It may not.
    """
    bound = devices()
    if bound is not None and device not in bound[stream]:
        name = f"{stream.name}:{device}"
        audit("forbidden", key=g.key.prefix, device=name)
        raise Forbidden(f"{name} is not one of the devices of {g.key.prefix}.", INGEST)


def _authenticated(keyring: Keyring, limits: Limits) -> ApiKey:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    given = given.strip()
    prefix = prefix_of(given) if kind.lower() == "bearer" else None
    if prefix is None:
        limits.count("failure", client_of(request.remote_addr))
        raise _unauthenticated(None, "")
    try:
        known = keyring.known(given, prefix)
    except DatabaseError:
        known = keyring.remembered(given, prefix) if _needs_no_database() else None
        if known is None:
            raise
    if known is None:
        if not keyring.was_valid(given):
            # A client that guesses is stopped before each guess costs a query.
            limits.check("guess", client_of(request.remote_addr))
        known = keyring.looked_up(given, prefix)
    if known is None:
        limits.count("guess", client_of(request.remote_addr))
        raise _unauthenticated(prefix, "is not known")
    if known.refusal:
        raise _unauthenticated(prefix, known.refusal)
    return known.key


def _needs_no_database() -> bool:
    """Whether a key seen before is enough: for metrics, and for readings that are queued."""
    is_queued = request.args.get("accept") == "queued"
    return request.path in OFFLINE or (is_queued and scope_of(request.path, "POST") == INGEST)


def _unauthenticated(prefix: str | None, refusal: str) -> Unauthenticated:
    given = "Authorization" in request.headers
    if not given:
        reason = "no key was given"
    elif not prefix:
        reason = "what was given is no key"
    else:
        reason = f"the key {refusal}"
    audit("authentication failed", key=prefix, reason=reason)
    return Unauthenticated(
        f"{reason[0].upper()}{reason[1:]}: send `Authorization: Bearer` and an API key.",
        given=given,
    )


def _failures(path: str, scope: str | None) -> tuple[int, ...]:
    """Return the statuses by which a route rejects a request's key or address."""
    if path in ABOUT_KEYS:
        return 401, 429, 500
    return (401, 403, 429, 500) if scope else (429, 500)


class Security(apispec.BasePlugin):
    """Documents the scope that each operation needs, and the answers to requests without it.

    Attributes:
        required: Whether keys are required here; where they aren't, a request may still have one.
    """

    def __init__(self, *, required: bool) -> None:
        self.required = required

    def init_spec(self, spec: apispec.APISpec) -> None:
        """Document the scheme."""
        scheme = {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key that `fleetwatt keys create` made, of the scope that the "
            "operation names (`ingest`, `read`, `admin`; admin implies the others)",
        }
        spec.components.security_scheme(SCHEME, scheme)

    def operation_helper(
        self, path: str | None = None, operations: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Document a path's operations."""
        optional: list[dict[str, list[str]]] = [] if self.required else [{}]
        for method, operation in (operations or {}).items():
            scope = scope_of(path or "", method.upper())
            operation["security"] = [*optional, {SCHEME: [scope]}] if scope else []
            if path in MORE_FOR_READERS:
                operation["security"] = [{}, {SCHEME: [READ]}]
            if path in ABOUT_KEYS:
                operation["security"] = [{}, {SCHEME: []}]
            if scope:
                description = operation.get("description", "")
                needs = f"Needs a key of the scope `{scope}`."
                operation["description"] = f"{description}\n\n{needs}".strip()
            for status in _failures(path or "", scope):
                described = problems.described(status)
                problem = {"schema": _PROBLEM, "example": described.pop("example")}
                operation["responses"][str(status)] = {
                    **described,
                    "content": {problems.MEDIA_TYPE: problem},
                }
