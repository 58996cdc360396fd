"""Every error that a client may see, as RFC 9457 describes it: exception -> status, type, title."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from fleetwatt.database.errors import (
    Busy,
    DatabaseError,
    SchemaBehind,
    StatementFailed,
    Unavailable,
)
from fleetwatt.faults import Fault, Faults, echoed
from fleetwatt.ingestion.split import NoReading, NotJson, TooManyReadings
from fleetwatt.lifecycle.corrections import AlreadyUndone, RawDropped, Superseded
from fleetwatt.lifecycle.register import SiteInUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds


class BrokenEncoding(Exception):
    """The body can't be decompressed."""


class BodyTooLarge(Exception):
    """The body is over 10 MB, counted after decompression."""


class UnsupportedMedia(Exception):
    """The body's media type or content encoding is none that is read here."""


class InvalidReadings(Exception):
    """No reading of the request was stored."""

    def __init__(self, detail: str, faults: Faults) -> None:
        super().__init__(detail)
        self.faults = faults


class TooManyPoints(Exception):
    """The answer would hold too many points."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.faults = Faults(listed=[Fault(None, field, message)])


class Unauthenticated(Exception):
    """A valid API key is needed."""

    def __init__(self, detail: str, *, given: bool) -> None:
        super().__init__(detail)
        error = ', error="invalid_token"' if given else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="fleetwatt"{error}'}


class Forbidden(Exception):
    """The API key may not do this."""

    def __init__(self, detail: str, scope: str) -> None:
        super().__init__(detail)
        challenge = f'Bearer realm="fleetwatt", error="insufficient_scope", scope="{scope}"'
        self.headers = {"WWW-Authenticate": challenge}


class RateLimited(Exception):
    """Too many requests came from one key or address."""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


class Misdirected(Exception):
    """The service does not answer under this host name."""


class CutShort(Exception):
    """The body ended before its announced length."""


class NotKnown(Exception):
    """Nothing is known under that id."""


class MappingConflict(Exception):
    """The vehicle is on a meter then already."""


@dataclass(frozen=True)
class Kind:
    """A kind of problem, as its answers name it."""

    status: int
    name: str
    title: str

    @property
    def type(self) -> str:
        return f"urn:fleetwatt:problem:{self.name}"


_UNAVAILABLE = Kind(503, "unavailable", "The database is away")
_INTERNAL = Kind(500, "internal", "Something went wrong here")
KINDS: dict[type[Exception], Kind] = {
    NotJson: Kind(400, "not-json", "The body is not JSON"),
    BrokenEncoding: Kind(400, "broken-encoding", "The body can't be decompressed"),
    # What gunicorn can't understand of a body; of a head: serving/gunicorn_patches.py.
    ParseException: Kind(400, "bad-request", "The request can't be understood"),
    Unauthenticated: Kind(401, "unauthenticated", "A valid API key is needed"),
    Forbidden: Kind(403, "forbidden", "The API key may not do this"),
    CutShort: Kind(408, "cut-short", "The request did not arrive whole"),
    RateLimited: Kind(429, "rate-limited", "Too many requests"),
    BodyTooLarge: Kind(413, "too-large", "The request is too large"),
    TooManyReadings: Kind(413, "too-many-readings", "The request holds too many readings"),
    UnsupportedMedia: Kind(415, "unsupported-media-type", "The media type is not supported"),
    Misdirected: Kind(421, "misdirected", "The service does not answer under this host name"),
    NoReading: Kind(422, "no-reading", "There is no reading in the body"),
    InvalidReadings: Kind(422, "invalid-readings", "Readings are invalid"),
    TooManyPoints: Kind(422, "too-many-points", "The answer would hold too many points"),
    NotKnown: Kind(404, "not-known", "Nothing is known under that id"),
    MappingConflict: Kind(409, "mapping-conflict", "The vehicle is on a meter then already"),
    RawDropped: Kind(409, "raw-dropped", "Raw readings of that time have been dropped"),
    AlreadyUndone: Kind(409, "already-undone", "The correction was undone before"),
    Superseded: Kind(409, "superseded", "A later correction of the same readings holds"),
    SiteInUse: Kind(409, "site-in-use", "Devices are registered at the site"),
    SchemaBehind: Kind(503, "schema-behind", "The database's schema is behind"),
    Busy: Kind(503, "busy", "The database is busy"),
    Unavailable: _UNAVAILABLE,
    StatementFailed: _INTERNAL,
    DatabaseError: _UNAVAILABLE,
}
HTTP_KINDS: dict[int, Kind] = {
    400: KINDS[ParseException],
    404: Kind(404, "not-found", "There is no such route"),
    405: Kind(405, "method-not-allowed", "The route has no such method"),
    406: Kind(406, "not-acceptable", "The answer has no such form"),
    413: KINDS[BodyTooLarge],
    415: KINDS[UnsupportedMedia],
    422: Kind(422, "invalid-arguments", "Arguments are invalid"),
    500: _INTERNAL,
}
NO_ROUTE = "Nothing is at this path, or the id in it can't be one; /docs/ shows the routes."


def register(app: Flask) -> None:
    """Make every error of an app a problem."""
    for exception in KINDS:
        app.register_error_handler(exception, _from_exception)


def described(status: int) -> dict[str, Any]:
    """Say for OpenAPI which problems have a status, with an example and the headers they have."""
    kinds = [kind for kind in (*KINDS.values(), *HTTP_KINDS.values()) if kind.status == status]
    titles = sorted({kind.title for kind in kinds})
    wait = {"description": "Seconds to wait", "schema": {"type": "integer"}}
    return {
        "description": "; ".join(titles),
        "example": document(kinds[0], f"{kinds[0].title}."),
        "headers": {"Retry-After": wait} if status in {429, 503} else {},
    }


def of_status(status: int, name: str) -> Kind:
    """Return the kind of problem that HTTP itself knows, by its status and its name there."""
    return HTTP_KINDS.get(status) or Kind(status, f"http-{status}", name)


def from_http(error: HTTPException) -> Response:
    """Turn werkzeug's and webargs's errors into problems."""
    status = error.code or 500
    kind = of_status(status, error.name)
    messages = getattr(error, "data", {}).get("messages", {})
    faults = _flattened(messages)
    ours = NO_ROUTE if status == 404 else error.description or error.name
    detail = "; ".join(map(_sentence, faults.listed)) or ours
    headers = dict(error.get_headers())
    return respond(kind, detail, faults, {"Allow": headers["Allow"]} if "Allow" in headers else {})


def document(kind: Kind, detail: str, faults: Faults | None = None) -> dict[str, Any]:
    """Return a problem as the body of an answer."""
    problem: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if faults and faults.listed:
        problem["errors"] = faults.listed
    if faults and faults.omitted:
        problem["errorsOmitted"] = faults.omitted
    return problem


def respond(
    kind: Kind,
    detail: str,
    faults: Faults | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the answer for a problem."""
    body = msgspec.json.encode(document(kind, detail, faults))
    response = Response(body, kind.status, headers, mimetype=MEDIA_TYPE)
    if kind.status == 503:
        response.headers["Retry-After"] = RETRY_AFTER
    return response


def _from_exception(error: Exception) -> Response:
    kind = next(KINDS[ancestor] for ancestor in type(error).__mro__ if ancestor in KINDS)
    if kind.status == 503:
        log.warning("%s: %s", kind.title, error)
    elif kind is _INTERNAL:
        log.error("%s: %s", kind.title, error, exc_info=error)
    # What the database says of itself (its address, its user, our SQL) is for the log alone.
    says_too_much = kind in {_UNAVAILABLE, _INTERNAL}
    detail = "" if says_too_much else str(error)
    return respond(
        kind,
        detail or (type(error).__doc__ or ""),
        getattr(error, "faults", None),
        getattr(error, "headers", None),
    )


def _flattened(messages: Any) -> Faults:
    """Turn webargs's {location: {field: [message]}} into our faults."""
    faults = Faults()
    for fields in messages.values():
        if isinstance(fields, dict):
            for field, texts in fields.items():
                name = echoed(field) if field != "_schema" else None
                for text in texts if isinstance(texts, list) else [texts]:
                    faults.add(Fault(None, name, str(text)))
    return faults


def _sentence(error: Fault) -> str:
    return f"{error.field}: {error.message}" if error.field else error.message
