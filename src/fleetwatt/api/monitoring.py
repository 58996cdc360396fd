"""What Prometheus scrapes."""

from __future__ import annotations

from flask import Response

from fleetwatt.http.openapi import Blueprint, current_database, current_gauges
from fleetwatt.observability import exposition

blueprint = Blueprint("monitoring", __name__, description="For Prometheus")


@blueprint.route("/metrics")
@blueprint.response(200, {"type": "string"}, content_type="text/plain")
def show() -> Response:
    """Return all metrics in Prometheus's text format.

    Those of all processes, and what the database says of itself where it answers.
    """
    current_database().set_gauges()
    return Response(
        exposition.render(current_gauges().latest()), content_type=exposition.MEDIA_TYPE
    )
