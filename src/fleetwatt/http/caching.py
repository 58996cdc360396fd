"""How a client asks whether an answer still holds.

Any answer about the past may change: by a late reading, a correction, a mapping, another interval
or power of a device. So a client asks each time: `If-None-Match` with the tag it got, answered by
304 without a body while nothing changed. A tag goes by all bytes of an answer, other than how old a
reading is: where that is in it the tag is weak (RFC 9110, section 8.8.1).
"""

from __future__ import annotations

import functools
import re
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from flask import Response, after_this_request, request

from fleetwatt import calendar
from fleetwatt.http import compression
from fleetwatt.http.openapi import Handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_smorest import Blueprint

ASK_AGAIN = "private, no-cache"
# It changes all the time, and follows from `timestamp`.
_AGE = re.compile(rb'"ageSeconds":[^,}]*')


def conditional(blueprint: Blueprint) -> Callable[[Handler], Handler]:
    """Tag a GET route's answers with their body's hash; who has that answer already gets 304.

    The tag has the time zones' version, too, so that no tag outlives the rules that cut a day.

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


def _tag(response: Response) -> Response:
    if response.status_code != 200:
        return response
    response.headers.setdefault("Cache-Control", ASK_AGAIN)
    if not response.is_streamed:
        lasting, ages = _AGE.subn(b"", response.get_data())
        digest = sha1(lasting, usedforsecurity=False).hexdigest()
        response.set_etag(f"{digest}-{calendar.VERSION}", weak=ages > 0)
        # Nothing is changed by what is asked here, so that If-Match has nothing to prevent.
        asked = {name: value for name, value in request.environ.items() if name != "HTTP_IF_MATCH"}
        if seen := asked.get("HTTP_IF_NONE_MATCH"):
            asked["HTTP_IF_NONE_MATCH"] = compression.uncompressed(seen)
        response.make_conditional(asked)
    return response
