"""A vehicle's summary of a window."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from fleetwatt.figures import VEHICLE_FIGURES, WARNINGS
from fleetwatt.schemas.fields import Answer, Choice, Identifier, figure_fields, window_fields
from fleetwatt.schemas.windows import SummaryQuery

EDGES = {
    "readings": "from the first to the last reading of the window, both ends included",
    "interpolated": "from its start to its end",
}


class PerformanceQuery(SummaryQuery):
    """The window of a summary, and what its energy is measured between."""

    edges = ma.fields.String(
        load_default="readings",
        validate=Choice("Edges", EDGES),
        metadata={
            "description": "Energy is measured: "
            + "; ".join(f"`{name}`: {text}" for name, text in EDGES.items())
        },
    )


def warnings_field() -> ma.fields.List[Any]:
    """Return the field of what is to be known of an answer besides its figures."""
    return ma.fields.List(
        ma.fields.String(validate=Choice("SummaryWarning", WARNINGS)),
        metadata={
            "description": "; ".join(f"`{name}`: {text}" for name, text in WARNINGS.items()),
            "example": [],
        },
    )


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
        "warnings": warnings_field(),
    },
    name="Performance",
)
