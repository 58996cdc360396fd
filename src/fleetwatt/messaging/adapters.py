"""From what devices send of their own accord to readings, as JSON; each adapter is a function.

An adapter takes a payload, the id that the topic names, and when NATS received the message. It
returns readings as a device of fleetwatt's own would write them. Nothing means that the message
holds no register, as many of a device's messages do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from fleetwatt.streams import METER, TIMESTAMP

Reading = dict[str, Any]
Adapter = Callable[[bytes, str, datetime], list[Reading]]
_WATT_HOURS = 1_000.0  # in a kWh
_MOST_EXPONENT = 30
_REGISTER = "Energy.Active.Import.Register"
# The call that a charging station makes, and the kind of message that a call is.
_CALL, _METER_VALUES = 2, "MeterValues"


class Unreadable(Exception):
    """The payload is not what such a device sends."""


def tasmota(payload: bytes, device: str, received: datetime) -> list[Reading]:
    """Read Tasmota's `tele/…/SENSOR`: the total in kWh, of several channels their sum.

    Its time counts where it has an offset (SetOption52 1); else the message's does.
    """
    message = _object(payload)
    energy = message.get("ENERGY")
    if not isinstance(energy, dict) or "Total" not in energy:
        return []
    time = message.get("Time")
    has_offset = isinstance(time, str) and time[19:20] in {"Z", "+", "-"}
    total = sum(_numbers(energy["Total"]))
    return [_reading(device, total, _mean(energy.get("Voltage")), time if has_offset else received)]


def shelly(payload: bytes, device: str, received: datetime) -> list[Reading]:
    """Read a component's status of a Shelly of generation 2 or later: its energy in Wh.

    `aenergy` is what switches and plugs have, `total_act…` is what meters of one and three phases
    have.
    """
    status = _object(payload)
    energy = status.get("aenergy")
    totals = [
        energy.get("total") if isinstance(energy, dict) else None,
        status.get("total_act"),
        status.get("total_act_energy"),
    ]
    known = [total for total in totals if total is not None]
    if not known:
        return []
    watt_hours = _number(known[0])
    return [_reading(device, watt_hours / _WATT_HOURS, _mean(status.get("voltage")), received)]


def ocpp(payload: bytes, device: str, _: datetime) -> list[Reading]:
    """Read OCPP's `MeterValues`, the call or its body alone, of versions 1.6 and 2.0.1.

    The register is `Energy.Active.Import.Register`, in Wh unless it says kWh: of the whole, or the
    sum of its phases.
    """
    message = _decoded(payload)
    if isinstance(message, list):
        is_call = len(message) == 4 and message[0] == _CALL and message[2] == _METER_VALUES
        message = message[3] if is_call else {}
    if not isinstance(message, dict):
        raise Unreadable("Not a MeterValues call.")
    readings = []
    for value in _items(message.get("meterValue")):
        samples = list(map(_sampled, _items(value.get("sampledValue"))))
        registers = [sample for sample in samples if sample["measurand"] == _REGISTER]
        whole = [sample for sample in registers if not sample["phase"]]
        kilowatt_hours = [sample["value"] for sample in whole[:1] or registers]
        volts = [sample["value"] for sample in samples if sample["measurand"] == "Voltage"]
        if kilowatt_hours:
            time = value.get("timestamp")
            readings.append(_reading(device, sum(kilowatt_hours), _mean(volts or None), time))
    return readings


def _sampled(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sampled value's measurand, phase and value, energy in kWh."""
    unit = sample.get("unitOfMeasure")
    unit = unit if isinstance(unit, dict) else {"unit": sample.get("unit")}
    exponent = _number(unit.get("multiplier", 0))
    if abs(exponent) > _MOST_EXPONENT:
        raise Unreadable("A multiplier is beyond all units.")
    value = _number(sample.get("value")) * 10.0**exponent
    measurand = sample.get("measurand", _REGISTER)
    if measurand == _REGISTER and (unit.get("unit") or "Wh") == "Wh":
        value /= _WATT_HOURS
    return {"measurand": measurand, "phase": sample.get("phase"), "value": value}


def _reading(device: str, kwh: float, voltage: float | None, time: Any) -> Reading:
    written = time.isoformat() if isinstance(time, datetime) else time
    return {
        METER.id.name: device,
        METER.counter.name: kwh,
        METER.mean.name: voltage,
        TIMESTAMP.name: written,
    }


def _decoded(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable("Not JSON.") from None


def _object(payload: bytes) -> dict[str, Any]:
    found = _decoded(payload)
    if not isinstance(found, dict):
        raise Unreadable("Not a JSON object.")
    return found


def _items(found: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list."""
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Unreadable("A list of objects is missing.")
    yield from found


def _numbers(found: Any) -> Sequence[float]:
    """Return a number, or several of a list; OCPP 1.6 writes them as strings."""
    items = found if isinstance(found, list) else [found]
    try:
        if items and not any(item is None or isinstance(item, bool) for item in items):
            return [float(item) for item in items]
    except (TypeError, ValueError):
        pass
    raise Unreadable("A number is missing.")


def _number(found: Any) -> float:
    numbers = _numbers(found)
    if len(numbers) != 1:
        raise Unreadable("A number is missing.")
    return numbers[0]


def _mean(found: Any) -> float | None:
    """Return the mean of phases, or None where nothing is known."""
    if found is None:
        return None
    numbers = _numbers(found)
    return sum(numbers) / len(numbers)
