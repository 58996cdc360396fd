"""What devices send of their own accord, as they send it, and the readings that come of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetwatt.messaging.adapters import Adapter, Unreadable, ocpp, shelly, tasmota

RECEIVED = datetime(2024, 2, 9, 10, 0, 3, tzinfo=UTC)
TASMOTA: dict[str, Any] = {
    "Time": "2024-02-09T11:00:00",
    "ENERGY": {
        "TotalStartTime": "2022-01-01T00:00:00",
        "Total": 1050.5,
        "Yesterday": 3.1,
        "Today": 1.2,
        "Power": 142,
        "Voltage": 230,
        "Current": 0.62,
    },
}
SHELLY_PLUG = {
    "id": 0,
    "output": True,
    "apower": 8.9,
    "voltage": 237.5,
    "aenergy": {"total": 6532.25, "by_minute": [45.2, 47.1, 88.3], "minute_ts": 1707472800},
}
SHELLY_METER = {"id": 0, "a_total_act_energy": 1.0, "total_act": 2500000.0, "total_act_ret": 0.0}
OCPP_16 = {
    "connectorId": 1,
    "transactionId": 7,
    "meterValue": [
        {
            "timestamp": "2024-02-09T10:00:00Z",
            "sampledValue": [
                {"value": "1050500", "context": "Sample.Periodic", "unit": "Wh"},
                {"value": "229", "measurand": "Voltage", "phase": "L1-N", "unit": "V"},
                {"value": "231", "measurand": "Voltage", "phase": "L2-N", "unit": "V"},
                {"value": "45", "measurand": "SoC", "unit": "Percent"},
            ],
        }
    ],
}
OCPP_201 = {
    "evseId": 1,
    "meterValue": [
        {
            "timestamp": "2024-02-09T10:00:00Z",
            "sampledValue": [
                {
                    "value": value,
                    "measurand": "Energy.Active.Import.Register",
                    "phase": phase,
                    "unitOfMeasure": {"unit": "Wh", "multiplier": 3},
                }
                for phase, value in (("L1", 350.5), ("L2", 350.0), ("L3", 350.0))
            ],
        }
    ],
}


def adapted(adapter: Adapter, message: Any) -> list[tuple[float, float | None, str]]:
    readings = adapter(json.dumps(message).encode(), "M-1", RECEIVED)
    assert {reading["meterId"] for reading in readings} <= {"M-1"}
    return [
        (reading["kwhConsumedAc"], reading["voltage"], reading["timestamp"]) for reading in readings
    ]


def test_tasmotas_total_is_the_register_at_the_time_of_its_message() -> None:
    assert adapted(tasmota, TASMOTA) == [(1050.5, 230, "2024-02-09T10:00:03+00:00")]


def test_tasmotas_own_time_counts_where_it_has_an_offset() -> None:
    message = TASMOTA | {"Time": "2024-02-09T11:00:00+01:00"}

    assert adapted(tasmota, message) == [(1050.5, 230, "2024-02-09T11:00:00+01:00")]


def test_tasmotas_channels_and_phases_are_one_meter() -> None:
    message = {"ENERGY": {"Total": [1.5, 2.25], "Voltage": [229, 230, 231]}}

    assert adapted(tasmota, message) == [(3.75, 230, "2024-02-09T10:00:03+00:00")]


def test_shellys_watt_hours_are_kilowatt_hours() -> None:
    assert adapted(shelly, SHELLY_PLUG) == [(6.53225, 237.5, "2024-02-09T10:00:03+00:00")]
    assert adapted(shelly, SHELLY_METER) == [(2500.0, None, "2024-02-09T10:00:03+00:00")]
    assert adapted(shelly, {"id": 0, "total_act_energy": 1500}) == [
        (1.5, None, "2024-02-09T10:00:03+00:00")
    ]


@pytest.mark.parametrize("message", [OCPP_16, [2, "19", "MeterValues", OCPP_16]])
def test_ocpps_register_comes_with_its_own_time(message: Any) -> None:
    assert adapted(ocpp, message) == [(1050.5, 230, "2024-02-09T10:00:00Z")]


def test_ocpps_phases_add_up_and_its_units_have_multipliers() -> None:
    assert adapted(ocpp, OCPP_201) == [(1050.5, None, "2024-02-09T10:00:00Z")]


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (tasmota, {"Time": "2024-02-09T11:00:00", "AM2301": {"Temperature": 21.5}}),
        (shelly, {"id": 0, "apower": 8.9}),
        (ocpp, {"connectorId": 1, "meterValue": []}),
    ],
)
def test_a_message_without_a_register_is_no_reading(adapter: Adapter, message: Any) -> None:
    assert adapted(adapter, message) == []


@pytest.mark.parametrize("adapter", [tasmota, shelly, ocpp])
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["ENERGY", "Total", "Time", "aenergy", "total", "meterValue", "sampledValue"]
                ),
                inner,
            )
        ),
    )
)
def test_whatever_comes_is_readings_or_unreadable(adapter: Adapter, message: Any) -> None:
    try:
        readings = adapter(json.dumps(message).encode(), "M-1", RECEIVED)
    except Unreadable:
        return
    assert all(isinstance(reading["kwhConsumedAc"], float) for reading in readings)
