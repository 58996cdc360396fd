"""Serves the page to browsers at `/`, and its files below `/web/`."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fleetwatt.http import headers
from fleetwatt.web import files
from fleetwatt.web.files import File

# The address of a file has what all files hold in it.
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"

blueprint = Blueprint("web", __name__)
blueprint.after_request(headers.allow_own_page)


@blueprint.get("/")
def page() -> Response:
    """Return the page to who accepts HTML by name.

    Raises:
        NotFound: The client is no browser; there is nothing for it here.
    """
    if not _wants_html():
        raise NotFound
    return _sent(files.load().index, _ASK_AGAIN, vary="Accept, Accept-Encoding")


@blueprint.get("/web/<digest>/<path:name>")
def file(digest: str, name: str) -> Response:
    """Return a file of the page.

    A page of another release, as while a deploy is under way, gets the file of this one.

    Raises:
        NotFound: There is no such file.
    """
    loaded = files.load()
    found = loaded.by_name.get(name)
    if found is None:
        raise NotFound
    return _sent(found, _FOR_EVER if digest == loaded.digest else _ASK_AGAIN)


def _wants_html() -> bool:
    accepted = request.accept_mimetypes
    # What accepts anything, as curl does, did not ask for a page.
    names_html = any(kind.partition(";")[0] == "text/html" for kind in accepted.values())
    return names_html and 0 < accepted["text/html"] >= accepted["application/json"]


def _sent(file: File, caching: str, vary: str = "Accept-Encoding") -> Response:
    takes_gzip = request.accept_encodings["gzip"] > 0
    response = Response(
        file.compressed if takes_gzip else file.plain,
        headers={"Cache-Control": caching, "Vary": vary},
        content_type=file.content_type,
    )
    if takes_gzip:
        response.headers["Content-Encoding"] = "gzip"
    response.add_etag()
    response.make_conditional(request.environ)
    return response
