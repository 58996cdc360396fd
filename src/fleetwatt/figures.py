"""The figures of a summary: each is named here, once.

The answers' schemas, the orders of a list and the columns of the SQL derive from these entries.
Handlers and SQL use `column`; `name` is what JSON calls it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """What a figure says, and a value that it may have."""

    description: str
    example: float


@dataclass(frozen=True)
class Figure:
    """A number that a summary states.

    Attributes:
        column: Its name in Python and in SQL.
        of_vehicle: What it says of one vehicle; None: a vehicle's summary lacks it.
        of_fleet: What it says of all devices; None: the fleet's summary lacks it.
        unit: What it is counted in; empty for a ratio and for a count.
        is_count: Whether it is a whole number and always known; any other may be null.
    """

    column: str
    of_vehicle: Meaning | None
    of_fleet: Meaning | None
    unit: str = ""
    is_count: bool = False

    @property
    def name(self) -> str:
        first, *others = self.column.split("_")
        return first + "".join(map(str.capitalize, others))

    @property
    def sql_type(self) -> str:
        return "bigint" if self.is_count else "double precision"


FIGURES = (
    Figure(
        "kwh_consumed_ac",
        of_vehicle=Meaning("AC energy in the window, the vehicle's share", 12.3),
        of_fleet=Meaning("AC energy of all meters", 123456.7),
        unit="kWh",
    ),
    Figure(
        "kwh_consumed_ac_mapped",
        of_vehicle=None,
        of_fleet=Meaning("AC energy that belongs to vehicles", 120000.0),
        unit="kWh",
    ),
    Figure(
        "kwh_delivered_dc",
        of_vehicle=Meaning("DC energy in the window", 10.1),
        of_fleet=Meaning("DC energy of all vehicles", 110000.5),
        unit="kWh",
    ),
    Figure(
        "kwh_delivered_dc_metered",
        of_vehicle=Meaning("DC energy while on a meter", 10.1),
        of_fleet=Meaning("DC energy of vehicles while on a meter", 108000.0),
        unit="kWh",
    ),
    Figure(
        "efficiency",
        of_vehicle=Meaning("kwhDeliveredDcMetered / kwhConsumedAc", 0.821),
        of_fleet=Meaning("kwhDeliveredDcMetered / kwhConsumedAcMapped", 0.9),
    ),
    Figure(
        "avg_battery_temp",
        of_vehicle=Meaning("Mean battery temperature", 31.2),
        of_fleet=Meaning("Mean battery temperature over all readings", 27.4),
        unit="°C",
    ),
    Figure(
        "vehicle_readings",
        of_vehicle=Meaning("The vehicle's readings", 1440),
        of_fleet=Meaning("Readings of all vehicles", 14400000),
        is_count=True,
    ),
    Figure(
        "meter_readings",
        of_vehicle=Meaning("Readings of its meters while it was on them", 1440),
        of_fleet=Meaning("Readings of all meters", 14400000),
        is_count=True,
    ),
    Figure(
        "vehicle_coverage",
        of_vehicle=Meaning("The vehicle's readings over those expected at one a minute", 1.0),
        of_fleet=Meaning(
            "Readings over those expected at one a minute of each vehicle that ever sent one", 1.0
        ),
    ),
    Figure(
        "meter_coverage",
        of_vehicle=Meaning(
            "The meters' readings over those expected at one a minute while it was on them", 1.0
        ),
        of_fleet=Meaning(
            "Readings over those expected at one a minute of each meter that ever sent one", 1.0
        ),
    ),
    Figure(
        "counter_resets",
        of_vehicle=Meaning("Falls of the vehicle's and its meters' counters", 0),
        of_fleet=Meaning("Falls of all counters", 0),
        is_count=True,
    ),
)
VEHICLE_FIGURES = {figure: figure.of_vehicle for figure in FIGURES if figure.of_vehicle}
FLEET_FIGURES = {figure: figure.of_fleet for figure in FIGURES if figure.of_fleet}
