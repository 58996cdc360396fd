"""One vehicle: where it is, what it charges, how warm its battery is."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from fleetwatt.simulation.meter import Meter
    from fleetwatt.simulation.plan import Identity

MINUTES_A_DAY = 1440  # all times here are minutes since 1970
EPOCH_WEEKDAY = 3  # 1970 began on a Thursday
MORNING = 450  # the minute of the day around which vehicles leave
TAPER_FROM = 80.0  # % SOC up to which the charger gives its full power
LEAST_POWER = 0.05  # share of full power down to which it tapers
FULL = 99.9  # %
RESERVE = 8.0  # % that no drive uses
WORST_LOSS = 0.02  # efficiency that is lost besides when charging at next to no power
DRIVING_RISE = 4.0  # °C above ambient that driving leads to


class Mode(Enum):
    """What a vehicle does."""

    PARKED = "parked"
    DRIVING = "driving"
    CHARGING = "charging"


_PARKED, _DRIVING, _CHARGING = Mode.PARKED, Mode.DRIVING, Mode.CHARGING


class Vehicle:
    """A vehicle, stepped minute by minute.

    Attributes:
        second: At which second of each minute it reports.
        meter: What it draws from.
        soc: State of charge, %.
        register: Delivered DC energy, kWh.
        temperature: Of the battery, °C.
        efficiency: DC out of AC at full power, 0.90-0.94; at least 0.88 at any.
    """

    __slots__ = (
        "_capacity",
        "_chance",
        "_charger",
        "_eager",
        "_enough",
        "_heat",
        "_late_tariff",
        "_life",
        "_sluggishness",
        "_until",
        "_use",
        "efficiency",
        "id",
        "meter",
        "mode",
        "register",
        "second",
        "soc",
        "temperature",
    )
    MEASURES = ("soc", "kwhDeliveredDc", "batteryTemp")

    def __init__(
        self, identity: Identity, meter: Meter, now: int, ambient: float, chance: Random
    ) -> None:
        """Make a vehicle; `identity` is what it is for good, `chance` what happens to it."""
        self.id, traits = identity
        self.meter = meter
        self.second = traits.randrange(60)
        self.soc = chance.uniform(35, 95)
        self.register = chance.uniform(0, 30_000)
        self.temperature = ambient
        self.efficiency = traits.uniform(0.90, 0.94)
        self._capacity = traits.choice([40.0, 52.0, 60.0, 77.0, 100.0])  # kWh
        self._charger = traits.choice([3.7, 7.4, 11.0, 11.0, 22.0])  # kW of AC
        self._enough = traits.choice([80.0, 90.0, FULL])  # % SOC at which charging ends
        self._eager = traits.uniform(0.4, 1.0)  # share of nights on which it is plugged in
        self._late_tariff = traits.random() < 0.4  # charges in the second half of the night
        self._heat = traits.uniform(6, 14)  # °C above ambient at full power, after hours
        self._sluggishness = traits.uniform(60, 180)  # minutes in which 63 % of it are reached
        self._chance = chance
        self._use = 0.0  # % SOC a minute on this trip
        # A third lives at other hours, so that something charges at any time of the day.
        shift = 0 if traits.random() < 0.67 else traits.randrange(MINUTES_A_DAY)
        self._life = self._lived(now - now % MINUTES_A_DAY - 2 * MINUTES_A_DAY + shift)
        self.mode, self._until = _PARKED, now

    def advance(self, now: int, ambient: float) -> float:
        """Live the minute that ends at `now`, and return the AC energy that it drew, in kWh."""
        while now >= self._until:
            self.mode, self._until = next(self._life)
        mode = self.mode
        drawn = 0.0
        if mode is _CHARGING:
            share = min(1.0, max(LEAST_POWER, (100.0 - self.soc) / (100.0 - TAPER_FROM)))
            drawn = share * self._charger / 60
            energy = drawn * (self.efficiency - WORST_LOSS * (1.0 - share))
            self.register += energy
            self.soc = min(100.0, self.soc + energy / self._capacity * 100)
            ambient += self._heat * share
            if self.soc >= self._enough:
                self.mode = _PARKED
        elif mode is _DRIVING:
            self.soc = max(RESERVE, self.soc - self._use)
            ambient += DRIVING_RISE
        self.temperature += (ambient - self.temperature) / self._sluggishness
        return drawn

    def resume(self, reading: Mapping[str, Any]) -> None:
        """Go on from a reading, by the names of its fields."""
        self.register = reading["kwhDeliveredDc"]
        if reading["soc"] is not None:
            self.soc = reading["soc"]
        if reading["batteryTemp"] is not None:
            self.temperature = reading["batteryTemp"]

    def measures(self) -> tuple[float, ...]:
        return round(self.soc, 1), round(self.register, 3), round(self.temperature, 1)

    def _lived(self, day: int) -> Iterator[tuple[Mode, int]]:
        """Yield what it does, and until when: nights, drives to somewhere and back, idle days."""
        chance = self._chance
        while True:
            day += MINUTES_A_DAY
            while chance.random() > (0.4 if _is_weekend(day) else 0.9):
                day += MINUTES_A_DAY
            leaves = day + round(chance.gauss(MORNING, 45))
            if self.soc < 45 or chance.random() < self._eager:
                if self._late_tariff:
                    yield _PARKED, day
                yield _CHARGING, leaves
            else:
                yield _PARKED, leaves
            self._use = chance.uniform(0.08, 0.25) / self._capacity * 100
            arrives = leaves + chance.randint(20, 75)
            yield _DRIVING, arrives
            returns = arrives + round(chance.gauss(480, 60))
            yield _PARKED, returns
            yield _DRIVING, returns + chance.randint(20, 75)


def _is_weekend(minute: int) -> bool:
    return (minute // MINUTES_A_DAY + EPOCH_WEEKDAY) % 7 >= 5
