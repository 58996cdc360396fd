"""What no model makes: the devices of other streams, and the fields that a model does not know."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from fleetwatt.streams import Field

MOST_A_MINUTE = 0.2  # kWh that a register rises by: 12 kW
STEP = 0.02  # of its example, by which any other measure may change in a minute
LEFT_OUT = 0.1  # share of readings that lack an optional measure


class Device(Protocol):
    """Whatever sends a reading a minute, at a second of its own."""

    id: str
    second: int

    def measures(self) -> tuple[Any, ...]:
        """Return what it measures now, in an order that its stream has."""


class Measures:
    """Measures of a device, in order: a register rises, any other wanders about its example."""

    __slots__ = ("_chance", "_fields", "_left_out", "_register", "_values")

    def __init__(self, fields: Sequence[Field], register: Field, chance: Random) -> None:
        self._fields = fields
        self._register = register
        self._chance = chance
        self._values = [float(field.example) for field in fields]
        self._left_out = [False for _ in fields]

    def advance(self) -> None:
        """Live one minute."""
        for place, field in enumerate(self._fields):
            self._values[place] = self._next(field, self._values[place])
            self._left_out[place] = field.optional and self._chance.random() < LEFT_OUT

    def resume(self, reading: Mapping[str, float | None]) -> None:
        """Go on from a reading, by the names of its fields."""
        for place, field in enumerate(self._fields):
            value = reading.get(field.name)
            if value is not None:
                self._values[place] = value

    def measures(self) -> tuple[float | msgspec.UnsetType, ...]:
        return tuple(
            msgspec.UNSET if left_out else round(value, 3)
            for value, left_out in zip(self._values, self._left_out, strict=True)
        )

    def _next(self, field: Field, value: float) -> float:
        if field == self._register:
            return value + self._chance.uniform(0, MOST_A_MINUTE)
        step = STEP * abs(field.example)
        least = -math.inf if field.minimum is None else field.minimum
        most = math.inf if field.maximum is None else field.maximum
        return max(least, min(most, value + self._chance.uniform(-step, step)))


class Unmodelled:
    """A device of a stream that has no model."""

    __slots__ = ("_measures", "id", "second")

    def __init__(self, device: str, measures: Measures, chance: Random) -> None:
        self.id = device
        self.second = chance.randrange(60)
        self._measures = measures

    def measures(self) -> tuple[Any, ...]:
        return self._measures.measures()


class Extended:
    """A device that a model makes, with the measures that the model does not know."""

    __slots__ = ("_device", "_measures", "id", "second")

    def __init__(self, device: Device, measures: Measures) -> None:
        self.id = device.id
        self.second = device.second
        self._device = device
        self._measures = measures

    def measures(self) -> tuple[Any, ...]:
        return (*self._device.measures(), *self._measures.measures())
