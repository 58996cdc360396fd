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
from fleetwatt.messaging.errors import MessagingError, NatsAway, NoNats

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
    """A kind of problem, as its answers name it.

    Attributes:
        when: What makes it, for the reference.
        remedy: What a client, or its developer, does then.
    """

    status: int
    name: str
    title: str
    when: str = ""
    remedy: str = ""

    @property
    def type(self) -> str:
        return f"urn:fleetwatt:problem:{self.name}"


_UNAVAILABLE = Kind(
    503,
    "unavailable",
    "The database is away",
    when="the database is away",
    remedy="retry after `Retry-After`",
)
_INTERNAL = Kind(
    500,
    "internal",
    "Something went wrong here",
    when="fleetwatt has a fault; its log has more under the answer's `X-Request-Id`",
    remedy="report it",
)
_NO_MESSAGES = Kind(
    503,
    "stream-unavailable",
    "The stream of messages is away or full",
    when="NATS is away, its stream is full, or no consumer runs where one has to",
    remedy="retry after `Retry-After`, or without `accept=queued`",
)
KINDS: dict[type[Exception], Kind] = {
    NotJson: Kind(
        400,
        "not-json",
        "The body is not JSON",
        when="the body is not JSON",
        remedy="mend it; the detail names the place",
    ),
    BrokenEncoding: Kind(
        400,
        "broken-encoding",
        "The body can't be decompressed",
        when="the body claims gzip and is not, ends early, or has more than 100 members",
        remedy="send it again, in one member",
    ),
    # What gunicorn can't understand of a body; of a head: serving/gunicorn_patches.py.
    ParseException: Kind(
        400,
        "bad-request",
        "The request can't be understood",
        when="the service can't understand the request",
        remedy="read the detail",
    ),
    Unauthenticated: Kind(
        401,
        "unauthenticated",
        "A valid API key is needed",
        when="the request has no API key, or one that is unknown, expired or revoked",
        remedy="send `Authorization: Bearer` and a valid key",
    ),
    Forbidden: Kind(
        403,
        "forbidden",
        "The API key may not do this",
        when="the key lacks the scope of the route, or the vehicle is not one of the key's devices",
        remedy="use another key",
    ),
    CutShort: Kind(
        408,
        "cut-short",
        "The request did not arrive whole",
        when="the body ended early or took too long; nothing was stored",
        remedy="send it again, in smaller batches on a slow line",
    ),
    RateLimited: Kind(
        429,
        "rate-limited",
        "Too many requests",
        when="a key or an address went past its limit of requests, or of failed authentications",
        remedy="wait for `Retry-After`; send batches",
    ),
    BodyTooLarge: Kind(
        413,
        "too-large",
        "The request is too large",
        when="over 10,000,000 bytes after decompression; 100,000 where no readings are expected",
        remedy="send smaller batches",
    ),
    TooManyReadings: Kind(
        413,
        "too-many-readings",
        "The request holds too many readings",
        when="over 10,000 readings",
        remedy="send smaller batches",
    ),
    UnsupportedMedia: Kind(
        415,
        "unsupported-media-type",
        "The media type is not supported",
        when="neither JSON nor NDJSON, or not gzip; what is no reading must be plain JSON",
        remedy="send `application/json` or `application/x-ndjson`, plain or gzip",
    ),
    Misdirected: Kind(
        421,
        "misdirected",
        "The service does not answer under this host name",
        when="keys are off, and neither loopback nor `FLEETWATT_ALLOWED_HOSTS` has the host name",
        remedy="use a name that is served, or require keys",
    ),
    NoReading: Kind(
        422,
        "no-reading",
        "There is no reading in the body",
        when="the body is JSON without a reading in it, as `[]`",
        remedy="send at least one object",
    ),
    InvalidReadings: Kind(
        422,
        "invalid-readings",
        "Readings are invalid",
        when="every reading is invalid, or one is with `atomic=true`",
        remedy="mend what `errors` names",
    ),
    TooManyPoints: Kind(
        422,
        "too-many-points",
        "The answer would hold too many points",
        when="a series would hold over 10,000 buckets or readings",
        remedy="take the `bucket` that the detail names, or a shorter window",
    ),
    NotKnown: Kind(
        404,
        "not-known",
        "Nothing is known under that id",
        when="nothing is known under that id",
        remedy="wait for its first reading, or register the device",
    ),
    MappingConflict: Kind(
        409,
        "mapping-conflict",
        "The vehicle is on a meter then already",
        when="the vehicle is on a meter at that time",
        remedy="look at `GET /v1/mappings?vehicleId=`; choose another span, or add `replace=true`",
    ),
    RawDropped: Kind(
        409,
        "raw-dropped",
        "Raw readings of that time have been dropped",
        when="retention has dropped raw readings of that time, so their hours can't be corrected",
        remedy="correct later hours only",
    ),
    AlreadyUndone: Kind(
        409,
        "already-undone",
        "The correction was undone before",
        when="the correction was undone before",
        remedy="nothing",
    ),
    Superseded: Kind(
        409,
        "superseded",
        "A later correction of the same readings holds",
        when="a later correction of the same readings holds",
        remedy="first undo the correction that the detail names",
    ),
    SiteInUse: Kind(
        409,
        "site-in-use",
        "Devices are registered at the site",
        when="devices are registered at the site that you remove",
        remedy="give them another site, or none; `GET /v1/devices/…?site=` lists them",
    ),
    SchemaBehind: Kind(
        503,
        "schema-behind",
        "The database's schema is behind",
        when="the database's schema is older than the program",
        remedy="run `fleetwatt db upgrade`",
    ),
    Busy: Kind(
        503,
        "busy",
        "The database is busy",
        when="readings wait too long, no connection came free, or a statement ran too long",
        remedy="retry after `Retry-After`",
    ),
    NatsAway: _NO_MESSAGES,
    MessagingError: _NO_MESSAGES,
    NoNats: Kind(
        409,
        "no-stream",
        "The service has no stream to queue readings in",
        when="`accept=queued` where `FLEETWATT_NATS_URL` is not set",
        remedy="leave `accept` out",
    ),
    Unavailable: _UNAVAILABLE,
    StatementFailed: _INTERNAL,
    DatabaseError: _UNAVAILABLE,
}
HTTP_KINDS: dict[int, Kind] = {
    400: KINDS[ParseException],
    404: Kind(
        404,
        "not-found",
        "There is no such route",
        when="the route does not exist, or the id in it is invalid",
        remedy="look at `/docs/`",
    ),
    405: Kind(
        405,
        "method-not-allowed",
        "The route has no such method",
        when="the route has no such method; `Allow` lists those it has",
        remedy="use one of those",
    ),
    406: Kind(
        406,
        "not-acceptable",
        "The answer has no such form",
        when="`Accept` allows no form that a series has",
        remedy="ask for `application/json` or `text/csv`",
    ),
    413: KINDS[BodyTooLarge],
    415: KINDS[UnsupportedMedia],
    422: Kind(
        422,
        "invalid-arguments",
        "Arguments are invalid",
        when="an argument is invalid or unknown; or a mapping, a device or a site is invalid",
        remedy="mend what `errors` names",
    ),
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
    says_too_much = kind in {_UNAVAILABLE, _NO_MESSAGES, _INTERNAL}
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
