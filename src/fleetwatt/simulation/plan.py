"""What is simulated."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class Identity(NamedTuple):
    """A device's id, and a source of its lasting traits."""

    id: str
    traits: Random


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A fleet and its network: the same plan makes the same readings, lost and late ones too.

    Attributes:
        start: The first minute, in UTC.
        loss: Share of readings that get lost.
        late: Share of readings that come late, after an outage of their gateway.
        repeat: Share of readings that are sent twice, as a device does that heard no answer.
        replaced: Share of the meters that are replaced in a day.
        moved: Share of the vehicles that move to another meter in a day.
    """

    vehicles: int
    meters: int
    start: datetime
    seed: str = "1"
    loss: float = 0.01
    late: float = 0.02
    repeat: float = 0.005
    replaced: float = 0.002
    moved: float = 0.02

    def chance(self, purpose: str) -> Random:
        """Return a source of chance of its own, so that no part changes another's course."""
        return Random(f"{purpose} {self.seed} {self.start.isoformat()}")  # noqa: S311 - no secret

    def identity(self, device: str) -> Identity:
        """Return what a device is for good, whenever a run starts."""
        return Identity(device, Random(f"{device} {self.seed}"))  # noqa: S311 - no secret
