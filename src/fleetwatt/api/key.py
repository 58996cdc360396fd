"""What the key of a request may do: a page asks before it shows what that key can't do."""

from __future__ import annotations

from typing import Any

from fleetwatt.http import auth
from fleetwatt.http.openapi import Blueprint, raises
from fleetwatt.schemas.keys import Key
from fleetwatt.security.keys import SCOPES

blueprint = Blueprint("key", __name__, url_prefix="/v1", description="The request's own key")


@blueprint.route("/key")
@blueprint.response(200, Key)
@raises(blueprint, 503)
def show() -> dict[str, Any]:
    """Say what the request's key may do, and whether one is needed.

    A page asks this to show what its user may do. Without a key, `prefix` is null.
    """
    key = auth.known_key()
    return {
        "required": auth.is_required(),
        "prefix": key and key.prefix,
        "scopes": [scope for scope in SCOPES if auth.may(scope)],
    }
