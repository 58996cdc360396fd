"""Whether the service lives and is ready."""

from __future__ import annotations

from typing import Any

from flask import current_app

from fleetwatt.http import auth
from fleetwatt.http.openapi import Blueprint, current_database, current_link, raises
from fleetwatt.messaging.errors import MessagingError
from fleetwatt.schemas.service import Health, Readiness
from fleetwatt.security.keys import READ
from fleetwatt.version import VERSION

blueprint = Blueprint("service", __name__, description="Liveness and readiness")


@blueprint.route("/healthz")
@blueprint.response(200, Health)
def healthz() -> dict[str, str]:
    """Return 200 while the process lives.

    It does not ask the database: a service whose database is away lives on.
    """
    return {"status": "ok"}


@blueprint.route("/readyz")
@blueprint.response(200, Readiness)
@raises(blueprint, 503)
def readyz() -> dict[str, Any]:
    """Return 200 while the database answers, takes writes and has the current schema.

    Of several hosts it names the one that takes writes.
    A replica that is away is reported, and changes nothing: the primary answers in its place.
    So is NATS, unless `FLEETWATT_NATS_REQUIRED` has it that readings must be taken by it, too.
    """
    server = current_database().check_ready()
    answer: dict[str, Any] = {"status": "ok"}
    if auth.may(READ):
        answer["version"] = VERSION
        if current_database().has_several_hosts:
            answer["database"] = {"server": server}
    if current_database().has_replica:
        lag = current_database().replica_lag()
        answer["replica"] = {"status": "away" if lag is None else "ok", "lagSeconds": lag}
    if current_link().is_set:
        answer["messages"] = {"status": "ok" if _takes_messages() else "away"}
    return answer


def _takes_messages() -> bool:
    """Whether NATS answers and a consumer runs.

    Raises:
        MessagingError: They don't, and have to.
    """
    try:
        current_link().check()
    except MessagingError:
        if current_app.config["NATS_REQUIRED"]:
            raise
        return False
    return True
