"""The figures of a summary from register curves, and its warnings (docs/explanation/energy.md)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Sums of doubles carry noise beyond this; exactness is promised to 1e-9.
DECIMALS = 10
LOW_COVERAGE = 0.9
# What counts as 0 kWh where something is divided by it: the quotient has to be a double.
NOTHING = 1e-100


def vehicle_figures(
    vehicle: Mapping[str, Any], mappings: Sequence[Mapping[str, Any]], window: timedelta
) -> dict[str, Any]:
    """Return the figures and warnings of a vehicle's window.

    Args:
        vehicle: What vehicle_summary() in SQL says of it.
        mappings: What mapped_meter() in SQL says of each mapping in the window, in order.
        window: Length of the window.
    """
    ac = total(mapping["ac_kwh"] for mapping in mappings)
    metered = total(mapping["dc_kwh"] for mapping in mappings)
    meter_readings = sum(mapping["readings"] for mapping in mappings)
    expected = window.total_seconds() / vehicle["interval_seconds"]
    of_meters = sum(mapping["seconds"] / mapping["interval_seconds"] for mapping in mappings)
    told = [vehicle, *mappings]
    figures = {
        "kwh_consumed_ac": rounded(ac),
        "kwh_delivered_dc": rounded(vehicle["energy_kwh"]),
        "kwh_delivered_dc_metered": rounded(metered),
        # Of what was not rounded: dividing would magnify what rounding took from a small AC.
        "efficiency": efficiency(metered, ac),
        "avg_battery_temp": rounded(vehicle["avg_battery_temp"]),
        "meter_ids": list(dict.fromkeys(mapping["meter_id"] for mapping in mappings)),
        "vehicle_readings": vehicle["readings"],
        "meter_readings": meter_readings,
        "vehicle_coverage": coverage(vehicle["readings"], expected),
        "meter_coverage": coverage(meter_readings, of_meters),
        "counter_resets": sum(device["falls"] + device["jumps"] for device in told),
        "ignored_readings": sum(device["ignored"] for device in told),
    }
    return figures | {"warnings": list(_of_vehicle(figures, vehicle, mappings))}


def _of_vehicle(
    figures: Mapping[str, Any], vehicle: Mapping[str, Any], mappings: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    dc, metered = figures["kwh_delivered_dc"] or 0.0, figures["kwh_delivered_dc_metered"] or 0.0
    coverages = (figures["vehicle_coverage"], figures["meter_coverage"])
    if not mappings:
        yield "no_mapping"
    if not figures["vehicle_readings"] or (mappings and not figures["meter_readings"]):
        yield "no_readings"
    if any(mapping["shared"] for mapping in mappings):
        yield "shared_meter"
    if any(mapping["uncertain"] for mapping in mappings):
        yield "shared_meter_uncertain"
    yield from of_curves([vehicle, *mappings])
    if (figures["efficiency"] or 0.0) > 1:
        yield "efficiency_above_one"
    if any(known is not None and known < LOW_COVERAGE for known in coverages):
        yield "low_coverage"
    if dc - metered > 10**-9:
        yield "unmetered_energy"
    if any(device["dropped"] for device in (vehicle, *mappings)):
        yield "history_dropped"


def of_curves(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is to be known of the energy of curves."""
    for warning, figure in (
        ("counter_reset", "falls"),
        ("implausible_step", "jumps"),
        ("readings_ignored", "ignored"),
        ("estimated_edge", "estimated"),
    ):
        if any(curve.get(figure) for curve in told):
            yield warning


def fleet_figures(
    buckets: Sequence[Mapping[str, Any]], window: timedelta, expected: Mapping[str, float | None]
) -> dict[str, Any]:
    """Return the figures of a fleet over buckets.

    Args:
        buckets: For each the sums over all devices, as fleet_buckets() in SQL has them.
        window: Their length together.
        expected: How many readings a second are expected of all `vehicles` and all `meters`.
    """
    mapped = total(bucket["mapped_kwh"] for bucket in buckets)
    metered = total(bucket["metered_kwh"] for bucket in buckets)
    temperatures = total(bucket["sum_battery_temp"] for bucket in buckets)
    readings = {
        "vehicles": sum(bucket["vehicle_readings"] for bucket in buckets),
        "meters": sum(bucket["meter_readings"] for bucket in buckets),
    }
    covered = {
        devices: coverage(readings[devices], (expected[devices] or 0.0) * window.total_seconds())
        for devices in readings
    }
    return {
        "kwh_consumed_ac": rounded(total(bucket["ac_kwh"] for bucket in buckets)),
        "kwh_consumed_ac_mapped": rounded(mapped),
        "kwh_delivered_dc": rounded(total(bucket["dc_kwh"] for bucket in buckets)),
        "kwh_delivered_dc_metered": rounded(metered),
        "efficiency": efficiency(metered, mapped),
        "avg_battery_temp": None
        if temperatures is None
        else rounded(temperatures / sum(bucket["count_battery_temp"] or 0 for bucket in buckets)),
        "vehicle_readings": readings["vehicles"],
        "meter_readings": readings["meters"],
        "vehicle_coverage": covered["vehicles"],
        "meter_coverage": covered["meters"],
        "counter_resets": sum(bucket["falls"] + bucket["jumps"] for bucket in buckets),
        "ignored_readings": sum(bucket["ignored"] for bucket in buckets),
    }


def total(values: Iterable[float | None]) -> float | None:
    """Add what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def efficiency(metered: float | None, drawn: float | None) -> float | None:
    return None if metered is None or drawn is None or drawn < NOTHING else rounded(metered / drawn)


def coverage(readings: int, expected: float) -> float | None:
    """Return readings received over readings expected; None where none are."""
    return rounded(readings / expected) if expected else None


def rounded(value: float | None) -> float | None:
    """Hide the noise that sums of doubles carry; what came as JSON may be a whole number."""
    return None if value is None else round(float(value), DECIMALS)
