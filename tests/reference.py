"""The arithmetic of docs/energy.md as a loop over all readings, to be checked by eye.

It knows nothing of fleetwatt and nothing of databases. Readings are the objects that devices
posted, in the order in which they arrived; mappings are the items that GET /v1/mappings lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Any, NamedTuple

AC, DC = "kwhConsumedAc", "kwhDeliveredDc"
COUNTERS = {"meter": AC, "vehicle": DC}
MINUTE = timedelta(minutes=1)
NOISE = 1e-9
Json = dict[str, Any]


class Step(NamedTuple):
    """Two consecutive readings of a device: their times, and what its counter did between them."""

    start: datetime
    end: datetime
    kwh: float
    fell: bool


def summary(
    vehicle: str,
    start: datetime,
    end: datetime,
    readings: Sequence[Json],
    mappings: Sequence[Json],
) -> Json:
    """Return what GET /v1/analytics/performance/{vehicle} has to answer for start < time <= end."""
    readings = [each for each in readings if start < taken(each) <= end]
    mine = sorted(
        (
            each
            for each in mappings
            if each["vehicleId"] == vehicle and overlap(*bounds(each), start, end)
        ),
        key=bounds,
    )
    own = history(readings, "vehicleId", vehicle)
    dc = [step.kwh for step in steps(own, DC)]
    metered = [step.kwh for step in steps(own, DC) if any(inside(step, each) for each in mine)]
    falls = sum(step.fell for step in steps(own, DC))

    meters = list(dict.fromkeys(each["meterId"] for each in mine))
    ac = [kwh for meter in meters for kwh in shares(vehicle, meter, readings, mappings)]
    meter_readings = 0
    mapped = timedelta(0)
    shared = False
    for each in mine:
        since, until = bounds(each)
        metering = history(readings, "meterId", each["meterId"])
        meter_readings += sum(since <= time < until for time, _ in metering)
        falls += sum(step.fell for step in steps(metering, AC) if inside(step, each))
        mapped += min(until, end) - max(since, start)
        shared |= any(
            other["vehicleId"] != vehicle
            and other["meterId"] == each["meterId"]
            and overlap(max(bounds(other)[0], since), min(bounds(other)[1], until), start, end)
            for other in mappings
        )

    efficiency = sum(metered) / sum(ac) if metered and sum(ac) else None
    vehicle_coverage = len(own) / ((end - start) / MINUTE)
    meter_coverage = meter_readings / (mapped / MINUTE) if mapped else None
    warnings = {
        "no_mapping": not mine,
        "no_readings": not own or (bool(mine) and meter_readings == 0),
        "shared_meter": shared,
        "counter_reset": falls > 0,
        "efficiency_above_one": efficiency is not None and efficiency > 1 + NOISE,
        "low_coverage": vehicle_coverage < 0.9
        or (meter_coverage is not None and meter_coverage < 0.9),
        "unmetered_energy": sum(dc) - sum(metered) > NOISE,
    }
    return {
        AC: sum(ac) if ac else None,
        DC: sum(dc) if dc else None,
        "kwhDeliveredDcMetered": sum(metered) if metered else None,
        "efficiency": efficiency,
        "avgBatteryTemp": sum(each["batteryTemp"] for _, each in own) / len(own) if own else None,
        "meterIds": meters,
        "vehicleReadings": len(own),
        "meterReadings": meter_readings,
        "vehicleCoverage": vehicle_coverage,
        "meterCoverage": meter_coverage,
        "counterResets": falls,
        "warnings": [warning for warning, holds in warnings.items() if holds],
    }


def series(
    kind: str,
    own: Sequence[tuple[datetime, Json]],
    start: datetime,
    end: datetime,
    width: timedelta | None,
) -> list[Json]:
    """Return the items of GET /v1/analytics/{kind}s/{id}/series of a device's readings in a window.

    No width means raw.
    """
    counted = steps(own, COUNTERS[kind])
    if width is None:
        begins = [time for time, _ in own]
        begins += [gap["start"] + MINUTE for gap in gaps(own, start, end) if gap["seconds"] > 90]
        return [point(kind, each, [each], own, counted) for each in sorted(begins)]
    # A bucket shows when the window has a moment in it.
    begins = []
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    begin += (start - begin) // width * width
    while begin <= end:
        if begin + width - timedelta(microseconds=1) > start:
            begins.append(begin)
        begin += width
    return [
        point(kind, each, [time for time, _ in own if each <= time < each + width], own, counted)
        for each in begins
    ]


def point(
    kind: str,
    begin: datetime,
    times: Sequence[datetime],
    own: Sequence[tuple[datetime, Json]],
    counted: Sequence[Step],
) -> Json:
    """Return one bucket, of the readings taken at `times`."""
    inside = [reading for time, reading in own if time in times]
    ending = [step for step in counted if step.end in times]
    counter = COUNTERS[kind]

    def told(field: str) -> list[Any]:
        return [reading[field] for reading in inside]

    def of(function: Any, field: str) -> float | None:
        return function(told(field)) if inside else None

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    figures = {
        "start": begin,
        counter: sum(step.kwh for step in ending) if ending else None,
        f"last{counter[0].upper()}{counter[1:]}": of(last, counter),
    }
    if kind == "vehicle":
        figures |= {
            "firstSoc": of(first, "soc"),
            "lastSoc": of(last, "soc"),
            "minSoc": of(min, "soc"),
            "maxSoc": of(max, "soc"),
            "minBatteryTemp": of(min, "batteryTemp"),
            "avgBatteryTemp": of(mean, "batteryTemp"),
            "maxBatteryTemp": of(max, "batteryTemp"),
        }
    else:
        figures |= {
            "minVoltage": of(min, "voltage"),
            "avgVoltage": of(mean, "voltage"),
            "maxVoltage": of(max, "voltage"),
        }
    return figures | {
        "readings": len(inside),
        "counterResets": sum(step.fell for step in ending),
    }


def first(values: Sequence[float]) -> float:
    return values[0]


def last(values: Sequence[float]) -> float:
    return values[-1]


def gaps(own: Sequence[tuple[datetime, Json]], start: datetime, end: datetime) -> list[Json]:
    """Return every span between what is heard of a device in start < time <= end, in order."""
    heard = [time for time, _ in own]
    return [
        {
            "start": since,
            "end": until,
            "seconds": (until - since).total_seconds(),
            "missingReadings": max(round((until - since) / MINUTE) - (until in heard), 0),
        }
        # A reading at the very end leaves a span of no length after it, which nobody asks for.
        for since, until in pairwise([start, *heard, end])
        if since < until
    ]


def shares(
    vehicle: str, meter: str, readings: Sequence[Json], mappings: Sequence[Json]
) -> list[float]:
    """Return the vehicle's share in kWh of each of the meter's runs that belong to it."""

    def owners(step: Step) -> set[str]:
        return {
            each["vehicleId"]
            for each in mappings
            if each["meterId"] == meter and inside(step, each)
        }

    found = []
    metering = steps(history(readings, "meterId", meter), AC)
    for vehicles, consecutive in groupby(metering, key=owners):
        run = list(consecutive)
        if vehicle not in vehicles:
            continue
        delivered = {
            each: sum(
                step.kwh
                for step in steps(history(readings, "vehicleId", each), DC)
                if run[0].start <= step.start and step.end <= run[-1].end
            )
            for each in vehicles
        }
        everything = sum(delivered.values())
        part = delivered[vehicle] / everything if everything else 1 / len(vehicles)
        found.append(part * sum(step.kwh for step in run))
    return found


def history(readings: Sequence[Json], kind: str, device: str) -> list[tuple[datetime, Json]]:
    """Return a device's readings by time; of two at one time the first to arrive counts."""
    kept: dict[datetime, Json] = {}
    for reading in readings:
        if reading.get(kind) == device:
            kept.setdefault(taken(reading), reading)
    # No two have the same time, so that readings are never compared.
    return sorted(kept.items())


def taken(reading: Json) -> datetime:
    return datetime.fromisoformat(reading["timestamp"])


def steps(readings: Sequence[tuple[datetime, Json]], counter: str) -> list[Step]:
    found = []
    for (start, earlier), (end, later) in pairwise(readings):
        rise = later[counter] - earlier[counter]
        found.append(Step(start, end, max(rise, 0.0), rise < 0))
    return found


def bounds(mapping: Json) -> tuple[datetime, datetime]:
    """Return a mapping's [from, to); since ever and still are the ends of all time."""
    since = datetime.fromisoformat(mapping["validFrom"] or "0001-01-01T00:00:00Z")
    until = datetime.fromisoformat(mapping["validTo"] or "9999-12-31T00:00:00Z")
    return since, until


def inside(step: Step, mapping: Json) -> bool:
    """Whether both readings of a step lie in the mapping."""
    since, until = bounds(mapping)
    return since <= step.start and step.end < until


def overlap(since: datetime, until: datetime, start: datetime, end: datetime) -> bool:
    """Whether [since, until) has a moment in start < time <= end."""
    return since < until and since <= end and start < until
