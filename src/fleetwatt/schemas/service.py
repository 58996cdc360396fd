"""Liveness and readiness."""

from __future__ import annotations

import marshmallow as ma


class Health(ma.Schema):
    """That the service lives, or is ready."""

    status = ma.fields.String(metadata={"description": "`ok`", "example": "ok"})
