"""What goes wrong between fleetwatt and NATS.

MessagingError
├── NatsAway       no server of NATS answers, or it can't do now what was asked
│   └── StreamFull the stream has no room
├── NoNats         no server of NATS is set
└── NoProgram      nats-server or the client's package is not installed

This module loads nothing of NATS, so that a service without it can name these.
"""

from __future__ import annotations


class MessagingError(Exception):
    """Messages could not be sent or received."""


class NatsAway(MessagingError):
    """NATS does not answer."""


class StreamFull(NatsAway):
    """The stream is full."""


class NoNats(MessagingError):
    """No NATS is set: FLEETWATT_NATS_URL is empty."""


class NoProgram(MessagingError):
    """The extra `mqtt` is not installed."""
