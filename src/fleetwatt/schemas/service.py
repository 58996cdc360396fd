"""Liveness and readiness."""

from __future__ import annotations

from typing import ClassVar

import marshmallow as ma

from fleetwatt.schemas.fields import Answer, Choice, quantity


class Health(Answer):
    """That the service lives, or is ready."""

    status = ma.fields.String(metadata={"description": "`ok`", "example": "ok"})


class ReplicaHealth(Answer):
    """The replica that analytics and series are read from."""

    status = ma.fields.String(
        validate=Choice("ReplicaState", ["ok", "away"]),
        metadata={
            "description": "`ok`, or `away`: then the primary answers in its place",
            "example": "ok",
        },
    )
    lagSeconds = quantity(
        "Since the transaction that it replayed last; 0: caught up; null: away", "s", 0.0
    )


class DatabaseHealth(Answer):
    """The server that takes writes now."""

    server = ma.fields.String(
        metadata={"description": "Host and port of the primary", "example": "db2:5432"}
    )


class MessagesHealth(Answer):
    """The NATS that MQTT devices publish to, and what stores their readings."""

    status = ma.fields.String(
        validate=Choice("MessagesState", ["ok", "away"]),
        metadata={
            "description": "`ok`, or `away`: NATS does not answer, or no consumer runs",
            "example": "ok",
        },
    )


class Readiness(Health):
    """That the service is ready: only the database itself decides that, never its replica."""

    sometimes: ClassVar = frozenset({"version", "database", "replica", "messages"})

    version = ma.fields.String(
        metadata={
            "description": "Of fleetwatt; where keys are required, for the scope `read` alone",
            "example": "1.2.3",
        },
    )
    database = ma.fields.Nested(
        DatabaseHealth,
        metadata={
            "description": "Only where the database's URL names several hosts; where keys are "
            "required, for the scope `read` alone",
            "example": {"server": "db2:5432"},
        },
    )
    replica = ma.fields.Nested(
        ReplicaHealth,
        metadata={
            "description": "Only where a replica is set",
            "example": {"status": "ok", "lagSeconds": 0.0},
        },
    )
    messages = ma.fields.Nested(
        MessagesHealth,
        metadata={"description": "Only where a NATS is set", "example": {"status": "ok"}},
    )
