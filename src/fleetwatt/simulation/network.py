"""What happens to readings on their way: some get lost, some come late, some come twice.

The devices of a stream that report at the same second share a gateway. In an outage it holds their
readings back; after it, it sends them in no order at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetwatt.streams import STREAMS, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.simulation.fleet import Reading
    from fleetwatt.simulation.plan import Plan

OUTAGE = range(3, 28)  # minutes that an outage may last
_MEAN_OUTAGE = (OUTAGE[0] + OUTAGE[-1]) / 2


@dataclass
class Traffic:
    """How many readings of a stream the fleet made, and what became of them on the way."""

    made: int = 0
    lost: int = 0
    late: int = 0
    repeated: int = 0


@dataclass
class _Gateway:
    """A gateway: for how many minutes more it has no connection, and what it has to send."""

    outage: int = 0
    held: list[Reading] = field(default_factory=list)
    again: list[Reading] = field(default_factory=list)


@dataclass(frozen=True)
class Delivery:
    """What a gateway sends at once: readings, and readings that it has sent before."""

    stream: Stream
    readings: list[Reading]
    again: list[Reading]


class Network:
    """The way from the devices to the API, with faults as often as the plan says."""

    def __init__(self, plan: Plan) -> None:
        self._chance = plan.chance("network")
        self._loss, self._repeat = plan.loss, plan.repeat
        # So often an outage starts in a minute without one that this share of minutes lies in one.
        self._failing = plan.late / (1 - plan.late) / _MEAN_OUTAGE
        self._gateways: dict[tuple[Stream, int], _Gateway] = {}
        self.traffic = {stream: Traffic() for stream in STREAMS}

    def carry(self, stream: Stream, second: int, readings: list[Reading]) -> Delivery:
        """Take what devices send at a second of this minute, and return what arrives by then."""
        gateway = self._gateways.setdefault((stream, second), _Gateway())
        traffic = self.traffic[stream]
        traffic.made += len(readings)
        again = gateway.again
        gateway.again = []
        kept = self._survivors(traffic, gateway, readings)
        if not gateway.outage and self._chance.random() < self._failing:
            gateway.outage = self._chance.choice(OUTAGE)
        if gateway.outage:
            gateway.outage -= 1
            gateway.held += kept
            gateway.again += again
            traffic.late += len(kept)
            return Delivery(stream, [], [])
        late = gateway.held
        gateway.held = []
        self._chance.shuffle(late)
        return Delivery(stream, late + kept, again)

    def drain(self) -> Iterator[Delivery]:
        """Return what gateways still hold, once nothing comes any more."""
        for (stream, _), gateway in self._gateways.items():
            self._chance.shuffle(gateway.held)
            yield Delivery(stream, gateway.held, gateway.again)
        self._gateways.clear()

    def _survivors(
        self, traffic: Traffic, gateway: _Gateway, readings: list[Reading]
    ) -> list[Reading]:
        chance, loss, lossy = self._chance.random, self._loss, self._loss + self._repeat
        kept = []
        for reading in readings:
            fate = chance()
            if fate < lossy:
                if fate < loss:
                    continue
                traffic.repeated += 1
                gateway.again.append(reading)
            kept.append(reading)
        traffic.lost += len(readings) - len(kept)
        return kept
