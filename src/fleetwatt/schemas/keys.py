"""What a request's key may do."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas.fields import Answer, optional


class Key(Answer):
    """What a request's key may do; where keys are off, every request may do all."""

    required = ma.fields.Boolean(
        metadata={"description": "Whether requests need a key here", "example": True}
    )
    prefix = optional(
        ma.fields.String,
        "The key's name in logs; null: the request has no key",
        example="fw_0123456789ab",
    )
    scopes = ma.fields.List(
        ma.fields.String(),
        metadata={
            "description": "What this request may do, of `ingest`, `read` and `admin`; with "
            "`admin` all that it implies",
            "example": ["read"],
        },
    )
