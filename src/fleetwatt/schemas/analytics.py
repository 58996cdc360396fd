"""Figures over a window."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.schemas.fields import (
    Answer,
    Identifier,
    Timestamp,
    WholeArgument,
    count,
    figure,
    in_our_age,
    window_ends,
)

MOST_HOURS = 744  # of a window: 31 days


class WindowQuery(ma.Schema):
    """The window of a summary, start < time <= end."""

    end = Timestamp(
        validate=in_our_age,
        metadata={
            "description": "End of the window; default now",
        },
    )
    hours = WholeArgument(
        load_default=24,
        validate=ma.validate.Range(1, MOST_HOURS),
        metadata={"description": "Length of the window (h)", "x-unit": "h"},
    )


WARNINGS = {
    "no_mapping": "the vehicle was on no meter in the window",
    "no_readings": "the vehicle sent nothing in the window, or none of its meters did",
    "shared_meter": "another vehicle was on the same meter; the AC energy is the vehicle's share",
    "counter_reset": "a counter fell; the step that fell counts 0",
    "efficiency_above_one": "more DC energy came out than AC energy went in",
    "low_coverage": "fewer than 90 % of the readings expected arrived",
    "unmetered_energy": "DC energy was delivered outside of the vehicle's mappings",
}


class Performance(Answer):
    """What a vehicle drew and delivered in a window, how well and how warm; null: not known."""

    vehicleId = Identifier(metadata={"description": "Id of the vehicle", "example": "V-999"})
    windowStart, windowEnd = window_ends()
    kwhConsumedAc = figure("AC energy in the window, the vehicle's share", "kWh", 12.3)
    kwhDeliveredDc = figure("DC energy in the window", "kWh", 10.1)
    kwhDeliveredDcMetered = figure("DC energy while on a meter", "kWh", 10.1)
    efficiency = figure("kwhDeliveredDcMetered / kwhConsumedAc", "", 0.821)
    avgBatteryTemp = figure("Mean battery temperature", "°C", 31.2)
    meterIds = ma.fields.List(
        Identifier(), metadata={"description": "Its meters in the window", "example": ["M-123"]}
    )
    vehicleReadings = count("The vehicle's readings", 1440)
    meterReadings = count("Readings of its meters while it was on them", 1440)
    vehicleCoverage = figure("The vehicle's readings over those expected at one a minute", "", 1.0)
    meterCoverage = figure(
        "The meters' readings over those expected at one a minute while it was on them", "", 1.0
    )
    counterResets = count("Falls of the vehicle's and its meters' counters", 0)
    warnings = ma.fields.List(
        ma.fields.String(validate=ma.validate.OneOf(list(WARNINGS))),
        metadata={
            "description": "; ".join(f"`{name}`: {text}" for name, text in WARNINGS.items()),
            "example": [],
        },
    )
