"""Liveness and readiness."""

from __future__ import annotations

import marshmallow as ma


class Health(ma.Schema):
    """That the service lives, or is ready."""

    status = ma.fields.String(metadata={"description": "`ok`", "example": "ok"})


class ReplicaHealth(ma.Schema):
    """The replica that analytics and series are read from."""

    status = ma.fields.String(
        metadata={
            "description": "`ok`, or `away`: then the primary answers in its place",
            "enum": ["ok", "away"],
            "example": "ok",
        }
    )
    lagSeconds = ma.fields.Float(
        allow_none=True,
        metadata={
            "description": "Seconds since the transaction that it replayed last; 0: it is caught "
            "up; null: it is away",
            "example": 0.0,
        },
    )


class Readiness(Health):
    """That the service is ready: only the database itself decides that, never its replica."""

    replica = ma.fields.Nested(
        ReplicaHealth, metadata={"description": "Only where a replica is set"}
    )
