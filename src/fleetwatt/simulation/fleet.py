"""Vehicles on their meters, minute by minute. It knows nothing of how readings get anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fleetwatt.simulation.meter import NOMINAL, Meter
from fleetwatt.simulation.unmodelled import Extended, Measures, Unmodelled
from fleetwatt.simulation.vehicle import MINUTES_A_DAY, Mode, Vehicle
from fleetwatt.streams import METER, STREAMS, TIMESTAMP, VEHICLE, Stream
from fleetwatt.times import MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fleetwatt.simulation.plan import Plan
    from fleetwatt.simulation.unmodelled import Device
    from fleetwatt.streams import Field

YEAR = 365.25 * MINUTES_A_DAY  # minutes
# The newest readings of devices, by the names of their fields; of vehicles with their meters.
Known = Mapping[tuple[Stream, str], Mapping[str, Any]]
Reading = Any  # a struct of READINGS: what is encoded as the JSON object that a device sends


_MODELS: dict[Stream, type[Meter | Vehicle]] = {METER: Meter, VEHICLE: Vehicle}


def _modelled(stream: Stream) -> tuple[str, ...]:
    return _MODELS[stream].MEASURES if stream in _MODELS else ()


def _unmodelled(stream: Stream) -> list[Field]:
    """Return the measures of a stream that no model makes, in the order of its readings."""
    return [field for field in stream.measures if field.name not in _modelled(stream)]


def _struct(stream: Stream) -> Callable[..., Reading]:
    """Make what a reading of a stream is: its id, its timestamp and its measures."""
    unmodelled = [field.name for field in _unmodelled(stream)]
    names = [stream.id.name, TIMESTAMP.name, *_modelled(stream), *unmodelled]
    return msgspec.defstruct(f"{stream.name.title()}Reading", names, frozen=True, gc=False)


def prefix(stream: Stream) -> str:
    """Return what the ids of a stream's devices begin with."""
    return f"{stream.name[0].upper()}-"


READINGS = {stream: _struct(stream) for stream in STREAMS}


class Fleet:
    """A fleet at the minute `now`; `advance` takes it one further.

    Attributes:
        moves: Meters by the vehicles that draw from them from `now` on; at the first minute, all.
        replaced: Which meters were replaced at `now`: their registers start at 0 again.
    """

    def __init__(self, plan: Plan, known: Known | None = None) -> None:
        """Make a fleet, which continues from the readings that are known of it."""
        self._plan = plan
        self._chance = chance = plan.chance("fleet")
        self._phase = chance.uniform(0, math.tau)
        self.now = plan.start - MINUTE
        self.moves: dict[str, str] = {}
        self.replaced: list[str] = []
        self._waiting_to_move = 0
        names = [f"M-{number:05}" for number in range(1, plan.meters + 1)]
        self.meters = [Meter(plan.identity(name), chance) for name in names]
        clock, ambient = self._clock(), self.ambient()
        self.vehicles = [
            # With fewer meters than vehicles, some are shared.
            Vehicle(
                plan.identity(f"V-{number:05}"),
                self.meters[(number - 1) % plan.meters],
                clock,
                ambient,
                chance,
            )
            for number in range(1, plan.vehicles + 1)
        ]
        self._wandering: dict[tuple[Stream, str], Measures] = {}
        self._by_second: dict[tuple[Stream, int], list[Device]] = {}
        for stream in STREAMS:
            for device in self._devices(stream):
                self._by_second.setdefault((stream, device.second), []).append(device)
        self._resume(known or {})

    def _resume(self, known: Known) -> None:
        meters = {meter.id: meter for meter in self.meters}
        for meter in self.meters:
            if reading := known.get((METER, meter.id)):
                meter.register = reading["kwhConsumedAc"]
        for vehicle in self.vehicles:
            if reading := known.get((VEHICLE, vehicle.id)):
                vehicle.resume(reading)
                vehicle.meter = meters.get(reading["meterId"], vehicle.meter)
        for device, measures in self._wandering.items():
            measures.resume(known.get(device, {}))

    def _devices(self, stream: Stream) -> Iterator[Device]:
        """Yield a stream's devices; of one that has no model, as many as there are vehicles."""
        # Of its own, so that a stream or a field more changes nothing of what the models make.
        chance = self._plan.chance(f"unmodelled {stream.name}")
        modelled: dict[Stream, Sequence[Device]] = {METER: self.meters, VEHICLE: self.vehicles}
        fields = _unmodelled(stream)

        def measures(device: str) -> Measures:
            made = Measures(fields, stream.counter, chance)
            self._wandering[stream, device] = made
            return made

        if stream not in modelled:
            for number in range(1, self._plan.vehicles + 1):
                name = f"{prefix(stream)}{number:05}"
                yield Unmodelled(name, measures(name), chance)
        elif fields:
            yield from (Extended(device, measures(device.id)) for device in modelled[stream])
        else:
            yield from modelled[stream]

    def advance(self) -> None:
        """Live one minute."""
        first = self.now < self._plan.start
        self.now += MINUTE
        clock, ambient = self._clock(), self.ambient()
        for vehicle in self.vehicles:
            if drawn := vehicle.advance(clock, ambient):
                vehicle.meter.draw(drawn)
        grid = NOMINAL + 2.5 * math.sin(math.tau * clock / MINUTES_A_DAY + self._phase)
        noise = self._chance.random
        for meter in self.meters:
            meter.end_minute(grid + noise() - 0.5)
        for measures in self._wandering.values():
            measures.advance()
        self._replace()
        self.moves = {vehicle.id: vehicle.meter.id for vehicle in self.vehicles} if first else {}
        self._move()

    def readings(self, stream: Stream, second: int) -> list[Reading]:
        """Return what the devices of a stream send at a second of this minute, 0-59."""
        struct = READINGS[stream]
        timestamp = f"{self.now.isoformat()[:16]}:{second:02}Z"
        return [
            struct(device.id, timestamp, *device.measures())
            for device in self._by_second.get((stream, second), ())
        ]

    def ambient(self) -> float:
        """Return the temperature outside, °C: of the season, the hour and the weather."""
        clock = self._clock()
        season = -9 * math.cos(math.tau * (clock / YEAR - 0.05))
        hour = 5 * math.sin(math.tau * (clock / MINUTES_A_DAY - 0.375))
        weather = 2.5 * math.sin(math.tau * clock / (3.7 * MINUTES_A_DAY) + self._phase)
        return 11 + season + hour + weather

    def _clock(self) -> int:
        return int(self.now.timestamp()) // 60

    def _replace(self) -> None:
        replaced = self._happening(self._plan.replaced * self._plan.meters)
        meters = [self._chance.choice(self.meters) for _ in range(replaced)]
        for meter in meters:
            meter.register = 0.0
        self.replaced = [meter.id for meter in meters]

    def _move(self) -> None:
        """Let vehicles change meters; one that charges is left alone and another one chosen."""
        if len(self.meters) == 1:
            return
        self._waiting_to_move += self._happening(self._plan.moved * self._plan.vehicles)
        for _ in range(self._waiting_to_move):
            vehicle, meter = self._chance.choice(self.vehicles), self._chance.choice(self.meters)
            if vehicle.mode is not Mode.CHARGING and vehicle.meter is not meter:
                self._waiting_to_move -= 1
                vehicle.meter = meter
                self.moves[vehicle.id] = meter.id

    def _happening(self, a_day: float) -> int:
        """Return how often something happens in this minute that happens so often a day."""
        unlikely = math.exp(-a_day / MINUTES_A_DAY)
        count, product = 0, self._chance.random()
        while product > unlikely:
            count += 1
            product *= self._chance.random()
        return count
