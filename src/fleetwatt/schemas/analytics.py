"""A vehicle's summary of a window."""

from __future__ import annotations

import marshmallow as ma

from fleetwatt.figures import VEHICLE_FIGURES
from fleetwatt.schemas.fields import (
    Answer,
    Identifier,
    Timestamp,
    WholeArgument,
    figure_fields,
    in_our_age,
    window_fields,
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


# What a vehicle drew and delivered in a window, how well and how warm; null: not known.
Performance = Answer.from_dict(
    {
        "vehicleId": Identifier(
            attribute="vehicle_id",
            metadata={"description": "Id of the vehicle", "example": "V-999"},
        ),
        **window_fields(),
        "meterIds": ma.fields.List(
            Identifier(),
            attribute="meter_ids",
            metadata={"description": "Its meters in the window", "example": ["M-123"]},
        ),
        **figure_fields(VEHICLE_FIGURES),
        "warnings": ma.fields.List(
            ma.fields.String(validate=ma.validate.OneOf(list(WARNINGS))),
            metadata={
                "description": "; ".join(f"`{name}`: {text}" for name, text in WARNINGS.items()),
                "example": [],
            },
        ),
    },
    name="Performance",
)
