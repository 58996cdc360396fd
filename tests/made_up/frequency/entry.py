"""A made-up field of the meter. As a plugin of pytest it is there before anything reads it."""

from __future__ import annotations

from dataclasses import replace

from fleetwatt import streams
from fleetwatt.streams import METER, VEHICLE, Field

FREQUENCY = Field(
    "frequency",
    "frequency",
    "Frequency of the grid",
    50,
    unit="Hz",
    minimum=0,
    maximum=1000,
    optional=True,
)
_register, *_others = METER.measures
streams.METER = replace(METER, measures=(_register, FREQUENCY, *_others))
streams.STREAMS = (streams.METER, VEHICLE)
