"""One meter: what its register and its voltage say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from fleetwatt.simulation.plan import Identity

NOMINAL = 230.0  # V


class Meter:
    """A meter, and the load that its vehicles are.

    Attributes:
        second: At which second of each minute it reports.
        register: Consumed AC energy, kWh.
    """

    __slots__ = ("_load", "_sag", "_voltage", "id", "register", "second")
    MEASURES = ("kwhConsumedAc", "voltage")

    def __init__(self, identity: Identity, chance: Random) -> None:
        self.id, traits = identity
        self.second = traits.randrange(60)
        self.register = chance.uniform(0, 20_000)
        self._load = 0.0  # kWh in this minute
        self._sag = traits.uniform(0.1, 0.3) * 60  # V lost for each kWh a minute
        self._voltage = NOMINAL

    def draw(self, energy: float) -> None:
        """Count AC energy, in kWh, that a vehicle drew in this minute."""
        self.register += energy
        self._load += energy

    def end_minute(self, grid: float) -> None:
        """Take the voltage at the end of the minute, where the grid's is `grid`."""
        self._voltage = grid - self._sag * self._load
        self._load = 0.0

    def measures(self) -> tuple[float, ...]:
        return round(self.register, 3), round(self._voltage, 1)
