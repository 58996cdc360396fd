"""The arithmetic of one vehicle's summary: shares of a shared meter, figures and warnings.

All of it is defined on steps: pairs of consecutive readings of one device (docs/energy.md). For the
whole fleet SQL does the same (decision 20).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby, pairwise
from typing import Any

# Sums of doubles carry noise beyond this; exactness is promised to 1e-9.
DECIMALS = 10
LOW_COVERAGE = 0.9
# What counts as 0 kWh where something is divided by it: the quotient has to be a double.
NOTHING = 1e-100


@dataclass(frozen=True)
class Reading:
    """A counter's value in kWh at a time."""

    time: datetime
    kwh: float


@dataclass(frozen=True)
class Step:
    """A pair of consecutive readings of one device."""

    earlier: Reading
    later: Reading

    @property
    def kwh(self) -> float:
        """Energy in kWh; 0 where the counter fell."""
        return max(self.later.kwh - self.earlier.kwh, 0.0)

    def inside(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether both readings lie in [start, end); None is an end without bound."""
        return (start is None or start <= self.earlier.time) and (
            end is None or self.later.time < end
        )


@dataclass(frozen=True)
class Mapped:
    """A vehicle's time on a meter, [start, end); None is an end without bound."""

    vehicle_id: str
    start: datetime | None
    end: datetime | None


def steps(readings: Iterable[Reading]) -> list[Step]:
    """Return the steps of readings in order of time."""
    return [Step(*pair) for pair in pairwise(readings)]


def share(
    vehicle_id: str,
    meter: Sequence[Reading],
    mappings: Sequence[Mapped],
    dc_readings: Callable[[str], Sequence[Reading]],
) -> float | None:
    """Return a vehicle's share in kWh of a meter that it shares, or None without a step.

    Consecutive steps that belong to the same vehicles form a run. A run's energy is split in
    proportion to the DC energy of each vehicle's own steps inside the run's span, evenly where
    that is 0 for all, so that the shares add up to what the meter counted.

    Args:
        vehicle_id: Whose share.
        meter: The meter's readings in the window, in order.
        mappings: Who was on the meter when.
        dc_readings: Gives a vehicle's readings in the window, in order.
    """

    def owners(step: Step) -> frozenset[str]:
        return frozenset(each.vehicle_id for each in mappings if step.inside(each.start, each.end))

    dc_steps = cache(lambda vehicle: steps(dc_readings(vehicle)))
    total: float | None = None
    for vehicles, run in groupby(steps(meter), key=owners):
        if vehicle_id in vehicles:
            shares = _split(list(run), {each: dc_steps(each) for each in vehicles})
            total = (total or 0.0) + shares[vehicle_id]
    return total


def _split(run: Sequence[Step], dc_steps: Mapping[str, Sequence[Step]]) -> dict[str, float]:
    energy = sum(step.kwh for step in run)
    first, last = run[0].earlier.time, run[-1].later.time
    delivered = {
        vehicle: sum(
            step.kwh for step in own if first <= step.earlier.time and step.later.time <= last
        )
        for vehicle, own in dc_steps.items()
    }
    everything = sum(delivered.values())
    if everything < NOTHING:
        return dict.fromkeys(delivered, energy / len(delivered))
    return {vehicle: energy * kwh / everything for vehicle, kwh in delivered.items()}


def total(values: Iterable[float | None]) -> float | None:
    """Add what is known; None where nothing is."""
    known = [each for each in values if each is not None]
    return sum(known) if known else None


def summary(
    vehicle: Mapping[str, Any], mappings: Sequence[Mapping[str, Any]], window: timedelta
) -> dict[str, Any]:
    """Return the figures and warnings of a vehicle's window.

    Args:
        vehicle: Its `readings`, `energy_kwh`, `falls` and `avg_battery_temp`.
        mappings: For each mapping in the window `meter_id`, `seconds`, and the meter's `readings`,
            `ac_kwh` (the vehicle's share), `falls`, the vehicle's `dc_kwh` meanwhile, and `shared`.
        window: Length of the window.
    """
    ac = total(each["ac_kwh"] for each in mappings)
    metered = total(each["dc_kwh"] for each in mappings)
    mapped = timedelta(seconds=sum(each["seconds"] for each in mappings))
    meter_readings = sum(each["readings"] for each in mappings)
    figures = {
        "kwh_consumed_ac": rounded(ac),
        "kwh_delivered_dc": rounded(vehicle["energy_kwh"]),
        "kwh_delivered_dc_metered": rounded(metered),
        # Of what was not rounded: dividing would magnify what rounding took from a small AC.
        "efficiency": rounded(_efficiency(metered, ac)),
        "avg_battery_temp": rounded(vehicle["avg_battery_temp"]),
        "meter_ids": list(dict.fromkeys(each["meter_id"] for each in mappings)),
        "vehicle_readings": vehicle["readings"],
        "meter_readings": meter_readings,
        "vehicle_coverage": _coverage(vehicle["readings"], window),
        "meter_coverage": _coverage(meter_readings, mapped),
        "counter_resets": vehicle["falls"] + sum(each["falls"] for each in mappings),
    }
    figures["warnings"] = list(_warnings(figures, mappings))
    return figures


def fleet(hours: Sequence[Mapping[str, Any]], devices: Mapping[str, int]) -> dict[str, Any]:
    """Return the figures of a fleet over hours.

    Args:
        hours: For each hour the sums over all devices, as fleet_hours() in SQL has them.
        devices: How many `vehicles` and `meters` are expected to report.
    """
    mapped = total(each["mapped_kwh"] for each in hours)
    metered = total(each["metered_kwh"] for each in hours)
    vehicle_readings = sum(each["vehicle_readings"] for each in hours)
    meter_readings = sum(each["meter_readings"] for each in hours)
    temperatures = total(each["sum_battery_temp"] for each in hours)
    window = timedelta(hours=len(hours))
    return {
        "kwh_consumed_ac": rounded(total(each["ac_kwh"] for each in hours)),
        "kwh_consumed_ac_mapped": rounded(mapped),
        "kwh_delivered_dc": rounded(total(each["dc_kwh"] for each in hours)),
        "kwh_delivered_dc_metered": rounded(metered),
        "efficiency": rounded(_efficiency(metered, mapped)),
        "avg_battery_temp": None
        if temperatures is None
        else rounded(temperatures / vehicle_readings),
        "vehicle_readings": vehicle_readings,
        "meter_readings": meter_readings,
        "vehicle_coverage": _coverage(vehicle_readings, window * devices["vehicles"]),
        "meter_coverage": _coverage(meter_readings, window * devices["meters"]),
        "counter_resets": sum(each["falls"] for each in hours),
    }


def _warnings(figures: Mapping[str, Any], mappings: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    dc, metered = figures["kwh_delivered_dc"] or 0.0, figures["kwh_delivered_dc_metered"] or 0.0
    if not mappings:
        yield "no_mapping"
    if not figures["vehicle_readings"] or (mappings and not figures["meter_readings"]):
        yield "no_readings"
    if any(each["shared"] for each in mappings):
        yield "shared_meter"
    if figures["counter_resets"]:
        yield "counter_reset"
    if (figures["efficiency"] or 0.0) > 1:
        yield "efficiency_above_one"
    coverages = (figures["vehicle_coverage"], figures["meter_coverage"])
    if any(each is not None and each < LOW_COVERAGE for each in coverages):
        yield "low_coverage"
    if dc - metered > 10**-9:
        yield "unmetered_energy"


def _efficiency(metered: float | None, ac: float | None) -> float | None:
    return None if metered is None or ac is None or ac < NOTHING else metered / ac


def _coverage(readings: int, span: timedelta) -> float | None:
    """Return readings received over readings expected at one a minute."""
    expected = span / timedelta(minutes=1)
    return rounded(readings / expected) if expected else None


def rounded(value: float | None) -> float | None:
    """Hide the noise that sums of doubles carry; what came as JSON may be a whole number."""
    return None if value is None else round(float(value), DECIMALS)
