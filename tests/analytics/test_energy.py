"""A summary's figures and warnings, from what curves tell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fleetwatt.analytics.energy import fleet_figures, of_curves, total, vehicle_figures
from fleetwatt.figures import FLEET_FIGURES, VEHICLE_FIGURES, WARNINGS


@pytest.mark.parametrize(
    ("values", "sum_of_known"), [([], None), ([None], None), ([None, 0.0], 0), ([1, None, 2], 3)]
)
def test_a_total_is_of_what_is_known(
    values: list[float | None], sum_of_known: float | None
) -> None:
    assert total(values) == sum_of_known


DAY = timedelta(days=1)


def of_device(**changes: Any) -> dict[str, Any]:
    """Return what a curve tells of a whole day in which nothing happened, changed."""
    return {
        "readings": 1440,
        "interval_seconds": 60.0,
        "falls": 0,
        "jumps": 0,
        "ignored": 0,
        "estimated": False,
        "dropped": False,
    } | changes


def of_vehicle(**changes: Any) -> dict[str, Any]:
    """Return what the database says of a vehicle's whole day, changed."""
    return of_device(energy_kwh=9.0, avg_battery_temp=20.5) | changes


def of_mapping(**changes: Any) -> dict[str, Any]:
    """Return what it says of a mapping that lasted the day, changed."""
    mapping = {"meter_id": "M-1", "seconds": 86_400, "ac_kwh": 10.0, "dc_kwh": 9.0}
    return of_device(**mapping, shared=False, uncertain=False) | changes


def test_a_day_without_a_fault_has_every_figure_and_no_warning() -> None:
    assert vehicle_figures(of_vehicle(), [of_mapping()], DAY) == {
        "kwh_consumed_ac": 10,
        "kwh_delivered_dc": 9,
        "kwh_delivered_dc_metered": 9,
        "efficiency": 0.9,
        "avg_battery_temp": 20.5,
        "meter_ids": ["M-1"],
        "vehicle_readings": 1440,
        "meter_readings": 1440,
        "vehicle_coverage": 1,
        "meter_coverage": 1,
        "counter_resets": 0,
        "ignored_readings": 0,
        "warnings": [],
    }


def test_a_vehicle_on_no_meter_has_nulls_for_what_a_meter_would_tell() -> None:
    figures = vehicle_figures(of_vehicle(), [], DAY)

    unknown = {name for name, value in figures.items() if value is None}
    assert unknown == {
        "kwh_consumed_ac",
        "kwh_delivered_dc_metered",
        "efficiency",
        "meter_coverage",
    }
    assert (figures["meter_ids"], figures["meter_readings"]) == ([], 0)


def test_a_silent_vehicle_has_nulls_for_what_it_would_tell() -> None:
    silent = of_vehicle(readings=0, energy_kwh=None, avg_battery_temp=None)

    figures = vehicle_figures(silent, [of_mapping(dc_kwh=None)], DAY)

    unknown = {name for name, value in figures.items() if value is None}
    assert unknown == {
        "kwh_delivered_dc",
        "kwh_delivered_dc_metered",
        "efficiency",
        "avg_battery_temp",
    }
    assert (figures["vehicle_readings"], figures["vehicle_coverage"]) == (0, 0)


@pytest.mark.parametrize("ac_kwh", [0.0, None])
def test_without_ac_energy_there_is_no_efficiency(ac_kwh: float | None) -> None:
    assert vehicle_figures(of_vehicle(), [of_mapping(ac_kwh=ac_kwh)], DAY)["efficiency"] is None


def test_no_dc_energy_is_an_efficiency_of_zero() -> None:
    figures = vehicle_figures(of_vehicle(energy_kwh=0.0), [of_mapping(dc_kwh=0.0)], DAY)

    assert (figures["efficiency"], figures["warnings"]) == (0, [])


def test_an_efficiency_above_one_is_not_clamped() -> None:
    figures = vehicle_figures(of_vehicle(energy_kwh=13.0), [of_mapping(dc_kwh=13.0)], DAY)

    assert (figures["efficiency"], figures["warnings"]) == (1.3, ["efficiency_above_one"])


def test_figures_are_of_all_mappings_and_a_meter_is_named_once() -> None:
    mappings = [
        of_mapping(
            meter_id=meter_id,
            ac_kwh=ac_kwh,
            seconds=28_800,
            readings=480,
            dc_kwh=2,
            falls=1,
            jumps=1,
            ignored=2,
        )
        for meter_id, ac_kwh in (("M-2", 4.0), ("M-1", None), ("M-2", 1.0))
    ]

    vehicle = of_vehicle(energy_kwh=6.0, falls=2, ignored=1)
    figures = vehicle_figures(vehicle, mappings, DAY)

    assert figures["meter_ids"] == ["M-2", "M-1"]
    assert (figures["kwh_consumed_ac"], figures["kwh_delivered_dc_metered"]) == (5, 6)
    assert (figures["meter_readings"], figures["meter_coverage"]) == (1440, 1)
    assert (figures["counter_resets"], figures["ignored_readings"]) == (8, 7)


def test_a_meters_coverage_is_over_the_time_on_it_and_none_is_clamped() -> None:
    figures = vehicle_figures(
        of_vehicle(readings=2880), [of_mapping(seconds=7_200, readings=60)], DAY
    )

    assert (figures["vehicle_coverage"], figures["meter_coverage"]) == (2, 0.5)


def test_coverage_goes_by_the_interval_of_each_device() -> None:
    quarter = of_vehicle(readings=96, interval_seconds=900.0)
    mappings = [
        of_mapping(seconds=43_200, readings=12, interval_seconds=3600.0),
        of_mapping(seconds=43_200, readings=12, interval_seconds=1800.0),
    ]

    figures = vehicle_figures(quarter, mappings, DAY)

    assert (figures["vehicle_coverage"], figures["meter_coverage"]) == (1, pytest.approx(24 / 36))


def test_a_mapping_without_length_has_no_coverage() -> None:
    assert (
        vehicle_figures(of_vehicle(), [of_mapping(seconds=0, readings=0)], DAY)["meter_coverage"]
        is None
    )


EACH_WARNING: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "no_mapping": (of_vehicle(energy_kwh=None), []),
    "no_readings": (of_vehicle(), [of_mapping(seconds=0, readings=0)]),
    "shared_meter": (of_vehicle(), [of_mapping(shared=True)] * 2),
    "shared_meter_uncertain": (of_vehicle(), [of_mapping(uncertain=True)] * 2),
    "counter_reset": (of_vehicle(falls=1), [of_mapping(falls=1)] * 2),
    "implausible_step": (of_vehicle(jumps=1), [of_mapping(jumps=1)] * 2),
    "readings_ignored": (of_vehicle(ignored=1), [of_mapping(ignored=1)] * 2),
    "estimated_edge": (of_vehicle(estimated=True), [of_mapping(estimated=True)] * 2),
    "efficiency_above_one": (of_vehicle(energy_kwh=11.0), [of_mapping(dc_kwh=11.0)]),
    "low_coverage": (of_vehicle(readings=1295), [of_mapping(readings=1295)]),
    "unmetered_energy": (of_vehicle(energy_kwh=9.1), [of_mapping()]),
    "history_dropped": (of_vehicle(dropped=True), [of_mapping(dropped=True)]),
}


def test_warnings_come_in_one_order() -> None:
    worst = {"falls": 1, "jumps": 1, "ignored": 1, "estimated": True, "dropped": True}
    vehicle = of_vehicle(**worst, energy_kwh=20.0, readings=0)
    mapping = of_mapping(**worst, shared=True, uncertain=True, dc_kwh=11.0)

    expected = [name for name in WARNINGS if name != "no_mapping"]
    assert vehicle_figures(vehicle, [mapping], DAY)["warnings"] == expected


@pytest.mark.parametrize("warning", WARNINGS)
def test_a_warning_comes_alone_and_once(warning: str) -> None:
    vehicle, mappings = EACH_WARNING[warning]

    assert vehicle_figures(vehicle, mappings, DAY)["warnings"] == [warning]


def test_nine_tenths_of_the_readings_are_coverage_enough() -> None:
    assert not vehicle_figures(of_vehicle(readings=1296), [of_mapping(readings=1296)], DAY)[
        "warnings"
    ]


def test_the_noise_of_adding_doubles_is_no_unmetered_energy() -> None:
    figures = vehicle_figures(of_vehicle(energy_kwh=9 + 5e-10), [of_mapping()], DAY)

    assert figures["warnings"] == []


def test_the_noise_of_adding_doubles_is_not_shown() -> None:
    assert vehicle_figures(of_vehicle(energy_kwh=0.1 + 0.2), [], DAY)["kwh_delivered_dc"] == 0.3


def test_an_efficiency_over_little_ac_is_not_that_of_rounded_figures() -> None:
    third = of_mapping(ac_kwh=0.001 / 3, dc_kwh=11.0)

    assert vehicle_figures(of_vehicle(energy_kwh=11.0), [third], DAY)["efficiency"] == 33_000


def of_bucket(**changes: Any) -> dict[str, Any]:
    """Return what the database says of a bucket of the fleet, of an hour, changed."""
    return {
        "ac_kwh": 12.0,
        "mapped_kwh": 10.0,
        "dc_kwh": 10.0,
        "metered_kwh": 9.0,
        "sum_battery_temp": 1200.0,
        "count_battery_temp": 60,
        "vehicle_readings": 120,
        "meter_readings": 60,
        "falls": 0,
        "jumps": 0,
        "ignored": 0,
    } | changes


RESETS = ("falls", "jumps", "ignored")
EXPECTED = {"vehicles": 2 / 60, "meters": 1 / 60}  # readings a second


def test_a_fleet_s_figures_are_sums_over_its_buckets() -> None:
    buckets = [of_bucket(falls=1, ignored=3), of_bucket(jumps=2, vehicle_readings=60)]

    assert fleet_figures(buckets, timedelta(hours=2), EXPECTED) == {
        "kwh_consumed_ac": 24,
        "kwh_consumed_ac_mapped": 20,
        "kwh_delivered_dc": 20,
        "kwh_delivered_dc_metered": 18,
        "efficiency": 0.9,
        "avg_battery_temp": 20,
        "vehicle_readings": 180,
        "meter_readings": 120,
        "vehicle_coverage": 0.75,
        "meter_coverage": 1,
        "counter_resets": 3,
        "ignored_readings": 3,
    }


def test_a_fleet_without_devices_has_nulls_and_no_readings() -> None:
    nothing = dict.fromkeys(of_bucket()) | dict.fromkeys(
        ("vehicle_readings", "meter_readings", "falls", "jumps", "ignored"), 0
    )

    figures = fleet_figures([nothing], timedelta(hours=1), dict.fromkeys(EXPECTED))

    counts = {"vehicle_readings", "meter_readings", "counter_resets", "ignored_readings"}
    assert {name for name, value in figures.items() if value is not None} == counts


def test_each_declared_figure_is_there_and_no_other() -> None:
    of_one = vehicle_figures(of_vehicle(), [of_mapping()], DAY).keys()
    of_all = fleet_figures([of_bucket()], timedelta(hours=1), EXPECTED).keys()

    assert of_one - {"meter_ids", "warnings"} == {figure.column for figure in VEHICLE_FIGURES}
    assert of_all == {figure.column for figure in FLEET_FIGURES}


def test_what_curves_tell_is_told_once() -> None:
    curves = [{"falls": 1, "ignored": 0}, {"falls": 2, "ignored": 1}]

    assert list(of_curves(curves)) == ["counter_reset", "readings_ignored"]
