"""A made-up stream. As a plugin of pytest it is one of STREAMS before anything reads them."""

from __future__ import annotations

from fleetwatt import streams
from fleetwatt.streams import Field, Stream

_REGISTER = Field(
    "kwhDispensed",
    "kwh_dispensed",
    "Cumulative energy register of the charger",
    12.5,
    unit="kWh",
    minimum=0,
    maximum=1e100,
)
_TEMPERATURE = Field(
    "connectorTemp",
    "connector_temp",
    "Temperature of the connector",
    21.5,
    unit="°C",
    minimum=-60,
    maximum=200,
    optional=True,
    nullable=True,
    statistics=("min", "avg", "max"),
)
CHARGER = Stream(
    name="charger",
    plural="chargers",
    description="A charging station's reading",
    id=Field("chargerId", "charger_id", "Id of the charger", "C-7", sql_type="text"),
    measures=(_REGISTER, _TEMPERATURE),
    counter=_REGISTER,
    mean=_TEMPERATURE,
)
streams.STREAMS = (*streams.STREAMS, CHARGER)
