"""The figures of a summary: what derives from their one declaration."""

from __future__ import annotations

from fleetwatt.figures import FIGURES, FLEET_FIGURES, VEHICLE_FIGURES
from fleetwatt.schemas.analytics import Performance
from fleetwatt.schemas.fleet import ORDERS, Fleet, FleetBucket


def test_json_calls_a_figure_as_sql_does_in_camel_case() -> None:
    names = {figure.column: figure.name for figure in FIGURES}

    assert names["kwh_delivered_dc_metered"] == "kwhDeliveredDcMetered"
    assert names["efficiency"] == "efficiency"


def test_an_answer_has_each_of_its_figures() -> None:
    for schema, figures in (
        (Performance, VEHICLE_FIGURES),
        (Fleet, FLEET_FIGURES),
        (FleetBucket, FLEET_FIGURES),
    ):
        columns = {name: field.attribute for name, field in schema().fields.items()}
        assert {figure.name: figure.column for figure in figures}.items() <= columns.items()


def test_a_list_can_be_sorted_by_each_figure_of_a_vehicle_both_ways() -> None:
    for figure in VEHICLE_FIGURES:
        assert ORDERS[figure.name] == (figure.column, 1)
        assert ORDERS[f"-{figure.name}"] == (figure.column, -1)
