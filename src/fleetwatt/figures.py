"""The figures of a summary, and its warnings: each is named here, once.

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
        of_vehicle=Meaning("The vehicle's readings over those expected by its interval", 1.0),
        of_fleet=Meaning("Readings over those expected of all vehicles, each by its interval", 1.0),
    ),
    Figure(
        "meter_coverage",
        of_vehicle=Meaning(
            "The meters' readings over those expected by their intervals while it was on them", 1.0
        ),
        of_fleet=Meaning("Readings over those expected of all meters, each by its interval", 1.0),
    ),
    Figure(
        "counter_resets",
        of_vehicle=Meaning("Resets of the vehicle's register and of its meters'", 0),
        of_fleet=Meaning("Resets of all registers", 0),
        is_count=True,
    ),
    Figure(
        "ignored_readings",
        of_vehicle=Meaning("Readings of glitches, the vehicle's and its meters', ignored", 0),
        of_fleet=Meaning("Readings of glitches, ignored", 0),
        is_count=True,
    ),
)
VEHICLE_FIGURES = {figure: figure.of_vehicle for figure in FIGURES if figure.of_vehicle}
FLEET_FIGURES = {figure: figure.of_fleet for figure in FIGURES if figure.of_fleet}
# In the order in which an answer lists them.
WARNINGS = {
    "no_mapping": "the vehicle was on no meter in the window",
    "no_readings": "the vehicle sent nothing in the window, or none of its meters did",
    "shared_meter": "another vehicle was on the same meter; the AC energy is the vehicle's share",
    "shared_meter_uncertain": "a vehicle on the shared meter was not heard when its share was made",
    "counter_reset": "a register fell and started again",
    "implausible_step": "a register rose by more than the device's power allows; that counts 0",
    "readings_ignored": "readings of a glitch were ignored",
    "estimated_edge": "an end of the window, or of a mapping, cuts a step of over two intervals",
    "efficiency_above_one": "more DC energy came out than AC energy went in",
    "low_coverage": "fewer than 90 % of the readings expected arrived",
    "unmetered_energy": "DC energy was delivered outside of the vehicle's mappings",
    "history_dropped": "a part comes from aggregates, since its raw readings were dropped",
}
