"""The arithmetic where SQL can't: shares of a shared meter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetwatt.energy import Mapped, Reading, share, steps, total

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
        vehicle: share(vehicle, meter, mappings, lambda each: dc.get(each, []))
        for vehicle in sorted({each.vehicle_id for each in mappings})
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
