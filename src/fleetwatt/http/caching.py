"""How long an answer may be used again, and how a client asks whether it still holds.

Every answer about the past may change while late readings are accepted, so that a client asks each
time: `If-None-Match` with the tag it got, answered by 304 without a body while nothing changed.
"""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Response, after_this_request, request

from fleetwatt.http.openapi import Handler, current_database

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_smorest import Blueprint

    from fleetwatt.streams import Stream

# A DBA may lengthen retention, and so let readings in again that were too old.
_KEPT = timedelta(days=1)
# What was accepted just before the bound may not be written yet.
_QUEUED = timedelta(hours=1)
ASK_AGAIN = "private, no-cache"
SETTLED = f"private, max-age={round(_KEPT.total_seconds())}, immutable"


def conditional(blueprint: Blueprint) -> Callable[[Handler], Handler]:
    """Tag a GET route's answers with their body's hash; who has that answer already gets 304.

    An answer that is streamed gets no tag.
    """

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def tagged(*args: Any, **kwargs: Any) -> Any:
            after_this_request(_tag)
            return handler(*args, **kwargs)

        described: Handler = blueprint.alt_response(
            304, description="The answer is still the one whose tag `If-None-Match` names"
        )(tagged)
        return described

    return decorate


def lifetime(stream: Stream, end: datetime) -> dict[str, str]:
    """Return the headers of an answer that depends on a stream's readings up to a time alone.

    No reading older than retention is accepted: what ended before can't change any more.
    """
    settled = end < current_database().oldest_accepted(stream) - _QUEUED
    return {"Cache-Control": SETTLED} if settled else {}


def _tag(response: Response) -> Response:
    if response.status_code != 200:
        return response
    response.headers.setdefault("Cache-Control", ASK_AGAIN)
    if not response.is_streamed:
        response.add_etag()
        # Nothing is changed by what is asked here, so that If-Match has nothing to prevent.
        asked = {name: value for name, value in request.environ.items() if name != "HTTP_IF_MATCH"}
        response.make_conditional(asked)
    return response
