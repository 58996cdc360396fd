"""The arithmetic where SQL can't: shares of a shared meter, and a summary's figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetwatt.analytics.energy import Mapped, Reading, share, steps, summary, total
from fleetwatt.schemas.analytics import WARNINGS

START = datetime(2026, 1, 1, tzinfo=UTC)


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


def readings(*values: float) -> list[Reading]:
    return [Reading(minute(number), kwh) for number, kwh in enumerate(values)]


def always(*vehicles: str) -> list[Mapped]:
    return [Mapped(vehicle, None, None) for vehicle in vehicles]


def shares(
    meter: list[Reading], mappings: list[Mapped], **dc: list[Reading]
) -> dict[str, float | None]:
    return {
        vehicle: share(vehicle, meter, mappings, lambda sharer: dc.get(sharer, []))
        for vehicle in sorted({mapping.vehicle_id for mapping in mappings})
    }


def test_a_step_that_falls_has_no_energy() -> None:
    assert [step.kwh for step in steps(readings(5, 7, 1, 2))] == [2, 0, 1]


def test_a_run_is_split_in_proportion_to_dc_energy() -> None:
    assert shares(
        readings(0, 5, 10), always("A", "B"), A=readings(0, 2, 3), B=readings(7, 7, 8)
    ) == {"A": 7.5, "B": 2.5}


def test_a_run_without_dc_energy_is_split_evenly() -> None:
    assert shares(readings(0, 5, 10), always("A", "B")) == {"A": 5, "B": 5}


def test_a_step_over_the_edge_of_a_mapping_is_not_the_vehicles() -> None:
    mappings = [*always("A"), Mapped("B", minute(2), None)]

    # A alone has the steps up to minute 2, also the one into it; both share the last.
    assert shares(readings(0, 1, 2, 10), mappings) == {"A": 1 + 1 + 4, "B": 4}


def test_runs_break_where_the_set_of_vehicles_changes() -> None:
    mappings = [*always("A"), Mapped("B", None, minute(2))]
    dc = {"A": readings(0, 0, 9, 9, 9), "B": readings(0, 6, 6, 6, 6)}

    # Up to minute 1 B alone took energy; later its energy counts for nothing.
    assert shares(readings(0, 4, 5, 6, 7), mappings, **dc) == {"A": 3, "B": 4}


def test_without_a_step_a_share_is_unknown() -> None:
    assert shares(readings(1), always("A", "B")) == {"A": None, "B": None}


def test_a_step_across_two_mappings_of_one_vehicle_is_nobodys() -> None:
    mappings = [Mapped("A", None, minute(1)), Mapped("A", minute(1), None), *always("B")]

    assert shares(readings(0, 1, 2), mappings) == {"A": 0.5, "B": 1 + 0.5}


@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=30),
    st.lists(st.lists(st.floats(0, 1e6), max_size=30), min_size=1, max_size=4),
)
def test_shares_add_up_to_what_the_meter_counted(
    register: list[float], registers: list[list[float]]
) -> None:
    dc = {f"V{number}": readings(*values) for number, values in enumerate(registers)}
    meter = readings(*register)

    split = shares(meter, always(*dc), **dc)

    counted = sum(step.kwh for step in steps(meter))
    assert total(split.values()) == pytest.approx(counted, rel=1e-9, abs=1e-9)


@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=30),
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 29), st.integers(0, 29)), max_size=4),
    st.lists(st.floats(0, 1e6), max_size=30),
)
def test_shares_add_up_to_the_steps_that_belong_to_somebody(
    register: list[float], spans: list[tuple[str, int, int]], a: list[float]
) -> None:
    mappings = [Mapped(vehicle, minute(min(span)), minute(max(span))) for vehicle, *span in spans]
    meter = readings(*register)

    split = shares(meter, mappings, A=readings(*a))

    owned = [
        step.kwh
        for step in steps(meter)
        if any(step.inside(mapping.start, mapping.end) for mapping in mappings)
    ]
    known = total(split.values())
    assert known == (pytest.approx(sum(owned), rel=1e-9, abs=1e-9) if owned else None)


def test_a_step_that_nobody_was_on_the_meter_for_is_nobodys() -> None:
    mappings = [Mapped("A", None, minute(2)), Mapped("B", minute(3), None)]

    # To minute 2 A has gone, at minute 2 B has not come yet.
    assert shares(readings(0, 1, 10, 100, 1000), mappings) == {"A": 1, "B": 900}


def test_a_vehicle_that_was_never_on_the_meter_has_no_share() -> None:
    assert share("C", readings(0, 1), always("A", "B"), lambda _: []) is None


def test_a_fall_of_a_shared_meter_costs_nobody_anything() -> None:
    assert shares(readings(5, 1, 3), always("A", "B")) == {"A": 1, "B": 1}


@pytest.mark.parametrize(
    ("values", "sum_of_known"), [([], None), ([None], None), ([None, 0.0], 0), ([1, None, 2], 3)]
)
def test_a_total_is_of_what_is_known(
    values: list[float | None], sum_of_known: float | None
) -> None:
    assert total(values) == sum_of_known


DAY = timedelta(days=1)


def of_vehicle(**changes: Any) -> dict[str, Any]:
    """Return what the database says of a vehicle's whole day, changed."""
    return {"readings": 1440, "energy_kwh": 9.0, "falls": 0, "avg_battery_temp": 20.5} | changes


def of_mapping(**changes: Any) -> dict[str, Any]:
    """Return what it says of a mapping that lasted the day, changed."""
    return {
        "meter_id": "M-1",
        "seconds": 86_400,
        "readings": 1440,
        "ac_kwh": 10.0,
        "falls": 0,
        "dc_kwh": 9.0,
        "shared": False,
    } | changes


def test_a_day_without_a_fault_has_every_figure_and_no_warning() -> None:
    assert summary(of_vehicle(), [of_mapping()], DAY) == {
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
        "warnings": [],
    }


def test_a_vehicle_on_no_meter_has_nulls_for_what_a_meter_would_tell() -> None:
    figures = summary(of_vehicle(), [], DAY)

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

    figures = summary(silent, [of_mapping(dc_kwh=None)], DAY)

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
    assert summary(of_vehicle(), [of_mapping(ac_kwh=ac_kwh)], DAY)["efficiency"] is None


def test_no_dc_energy_is_an_efficiency_of_zero() -> None:
    figures = summary(of_vehicle(energy_kwh=0.0), [of_mapping(dc_kwh=0.0)], DAY)

    assert (figures["efficiency"], figures["warnings"]) == (0, [])


def test_an_efficiency_above_one_is_not_clamped() -> None:
    figures = summary(of_vehicle(energy_kwh=13.0), [of_mapping(dc_kwh=13.0)], DAY)

    assert (figures["efficiency"], figures["warnings"]) == (1.3, ["efficiency_above_one"])


def test_figures_are_of_all_mappings_and_a_meter_is_named_once() -> None:
    mappings = [
        of_mapping(meter_id=meter_id, seconds=28_800, readings=480, ac_kwh=ac, dc_kwh=2, falls=1)
        for meter_id, ac in (("M-2", 4.0), ("M-1", None), ("M-2", 1.0))
    ]

    figures = summary(of_vehicle(energy_kwh=6.0, falls=2), mappings, DAY)

    assert figures["meter_ids"] == ["M-2", "M-1"]
    assert (figures["kwh_consumed_ac"], figures["kwh_delivered_dc_metered"]) == (5, 6)
    assert (figures["meter_readings"], figures["meter_coverage"]) == (1440, 1)
    assert figures["counter_resets"] == 5


def test_a_meters_coverage_is_over_the_time_on_it_and_none_is_clamped() -> None:
    figures = summary(of_vehicle(readings=2880), [of_mapping(seconds=7_200, readings=60)], DAY)

    assert (figures["vehicle_coverage"], figures["meter_coverage"]) == (2, 0.5)


def test_a_mapping_without_length_has_no_coverage() -> None:
    assert summary(of_vehicle(), [of_mapping(seconds=0, readings=0)], DAY)["meter_coverage"] is None


EACH_WARNING: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "no_mapping": (of_vehicle(energy_kwh=None), []),
    "no_readings": (of_vehicle(), [of_mapping(seconds=0, readings=0)]),
    "shared_meter": (of_vehicle(), [of_mapping(shared=True)] * 2),
    "counter_reset": (of_vehicle(falls=1), [of_mapping(falls=1)] * 2),
    "efficiency_above_one": (of_vehicle(energy_kwh=11.0), [of_mapping(dc_kwh=11.0)]),
    "low_coverage": (of_vehicle(readings=1295), [of_mapping(readings=1295)]),
    "unmetered_energy": (of_vehicle(energy_kwh=9.1), [of_mapping()]),
}


@pytest.mark.parametrize("warning", WARNINGS)
def test_a_warning_comes_alone_and_once(warning: str) -> None:
    vehicle, mappings = EACH_WARNING[warning]

    assert summary(vehicle, mappings, DAY)["warnings"] == [warning]


def test_nine_tenths_of_the_readings_are_coverage_enough() -> None:
    assert not summary(of_vehicle(readings=1296), [of_mapping(readings=1296)], DAY)["warnings"]


def test_the_noise_of_adding_doubles_is_no_unmetered_energy() -> None:
    figures = summary(of_vehicle(energy_kwh=9 + 5e-10), [of_mapping()], DAY)

    assert figures["warnings"] == []


def test_the_noise_of_adding_doubles_is_not_shown() -> None:
    assert summary(of_vehicle(energy_kwh=0.1 + 0.2), [], DAY)["kwh_delivered_dc"] == 0.3


def test_an_efficiency_over_little_ac_is_not_that_of_rounded_figures() -> None:
    third = of_mapping(ac_kwh=0.001 / 3, dc_kwh=11.0)

    assert summary(of_vehicle(energy_kwh=11.0), [third], DAY)["efficiency"] == 33_000


def test_the_readings_of_who_comes_back_are_asked_for_once() -> None:
    mappings = [*always("A"), Mapped("B", None, minute(2)), Mapped("B", minute(4), None)]
    asked = []

    def dc_readings(vehicle: str) -> list[Reading]:
        asked.append(vehicle)
        return []

    assert share("A", readings(0, 1, 2, 3, 4, 5, 6, 7), mappings, dc_readings) == 5
    assert sorted(asked) == ["A", "B"]
