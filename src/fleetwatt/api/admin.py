"""What administrators ask."""

from __future__ import annotations

from typing import Any

from fleetwatt.http.openapi import Blueprint, current_database, raises
from fleetwatt.lifecycle import storage
from fleetwatt.schemas.admin import Storage

blueprint = Blueprint("admin", __name__, url_prefix="/v1/admin", description="For administrators")


@blueprint.route("/storage")
@blueprint.response(200, Storage)
@raises(blueprint, 422, 503)
def stored() -> dict[str, Any]:
    """Return what is stored, what it costs, and what will be dropped and when."""
    return storage.report(current_database())
