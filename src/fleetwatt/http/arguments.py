"""The arguments of a request: those of its query, and those of a body that holds no readings."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import marshmallow as ma
from flask import current_app, request
from flask_smorest import abort
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from fleetwatt.http.body import check_plain, encoding_of, received
from fleetwatt.http.problems import BodyTooLarge, UnsupportedMedia
from fleetwatt.ingestion.explain import reject_constant
from fleetwatt.ingestion.split import NotJson

if TYPE_CHECKING:
    from flask import Flask, Request

MAX_BYTES = 100_000  # of a body


class ArgumentsParser(FlaskParser):
    """Reads queries, and bodies that are no batch of readings.

    They reject an argument that a route does not have. Otherwise a misspelt one would be ignored,
    and the client would take the answer for what it asked.
    """

    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": ma.RAISE}

    def load_querystring(self, req: Request, schema: Any) -> Any:
        """Read a query that repeats no argument: one of the two would be ignored."""
        twice = [name for name, values in req.args.lists() if len(values) > 1]
        if twice:
            raise ma.ValidationError({name: ["Given more than once."] for name in twice})
        return super().load_querystring(req, schema)

    def load_json(self, req: Request, schema: Any) -> Any:
        """Read JSON without duplicate names, NaN and infinities, and not nested too deeply.

        Raises:
            BodyTooLarge: It has over `MAX_BYTES`.
            NotJson: It is not JSON.
            UnsupportedMedia: Its Content-Type or Content-Encoding is another.
        """
        if req.mimetype != "application/json":
            raise UnsupportedMedia(
                f"Content-Type is {req.mimetype or 'missing'}; send application/json"
            )
        encoding = encoding_of(req)
        if encoding != "identity":
            raise UnsupportedMedia(f"Content-Encoding is {encoding}; send none")
        try:
            sent = received(req)
            check_plain(sent, "this route takes plain JSON alone")
            arguments = json.loads(
                sent,
                object_pairs_hook=_unique,
                parse_constant=reject_constant,
                parse_float=_finite,
            )
            # In names and values alike: neither an answer nor the database can hold it.
            json.dumps(arguments, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise NotJson("a string has half a surrogate pair") from None
        except ValueError as error:
            raise NotJson(str(error)) from None
        except RecursionError:
            raise NotJson("it is nested too deeply") from None
        except RequestEntityTooLarge:
            raise BodyTooLarge(f"this route takes up to {MAX_BYTES:,} bytes") from None
        return arguments


def register(app: Flask) -> None:
    """Bound the body that an app reads, and reject queries where a route takes none."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    app.before_request(_reject_unknown_query)


def _reject_unknown_query() -> None:
    """Reject a query where a documented route takes none, as `ArgumentsParser` does elsewhere."""
    # Most requests have no query, and parsing one costs more than the rest of this function.
    if not request.query_string or not request.args:
        return
    if request.endpoint is None or request.method == "OPTIONS":
        return
    described = getattr(current_app.view_functions[request.endpoint], "_apidoc", None)
    # Probes and scrapers may add what they like.
    if described is None or not request.path.startswith("/v1/"):
        return
    taken = described.get("arguments", {}).get("parameters", [])
    if not any(parameter["in"] == "query" for parameter in taken):
        unknown = {name: ["Unknown field."] for name in request.args}
        abort(422, messages={"query": unknown})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = Counter(name for name, _ in pairs)
    if len(names) < len(pairs):
        raise ValueError(f"an object has the name {names.most_common(1)[0][0]!r} more than once")
    return dict(pairs)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError("a number is beyond a double")
    return number
