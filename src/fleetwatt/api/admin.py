"""What administrators ask."""

from __future__ import annotations

from typing import Any

from fleetwatt.http.openapi import Blueprint, current_database, current_doctor, raises
from fleetwatt.lifecycle import storage
from fleetwatt.schemas.admin import Examination, Storage

blueprint = Blueprint("admin", __name__, url_prefix="/v1/admin", description="For administrators")


@blueprint.route("/storage")
@blueprint.response(200, Storage)
@raises(blueprint, 422, 503)
def stored() -> dict[str, Any]:
    """Return what is stored, what it costs, and what will be dropped and when."""
    return storage.report(current_database())


@blueprint.route("/doctor")
@blueprint.response(200, Examination)
@raises(blueprint, 422, 503)
def examined() -> dict[str, Any]:
    """Say what is well with the database, and what to do where it is not.

    These are the findings of `fleetwatt doctor`.
    """
    examined_at, findings = current_doctor().findings()
    return {"examined_at": examined_at, "items": findings}
