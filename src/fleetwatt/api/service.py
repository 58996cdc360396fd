"""Whether the service lives and is ready."""

from __future__ import annotations

from flask_smorest import Blueprint

from fleetwatt.api import raises, store
from fleetwatt.schemas.service import Health

blueprint = Blueprint("service", __name__, description="Liveness and readiness")


@blueprint.route("/healthz")
@blueprint.response(200, Health)
def healthz() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@blueprint.route("/readyz")
@blueprint.response(200, Health)
@raises(blueprint, 503)
def readyz() -> dict[str, str]:
    """Say that the database answers and its schema is up to date."""
    store().one("ping")
    return {"status": "ok"}
