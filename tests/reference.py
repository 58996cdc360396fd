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
HOUR = timedelta(hours=1)
NOISE = 1e-9
Json = dict[str, Any]


class Step(NamedTuple):
    """Two consecutive readings of a device: their times, and what its counter did between them."""

    start: datetime
    end: datetime
    kwh: float
    fell: bool


class Counted(NamedTuple):
    """What a fleet's figures are sums of: values and the times at which they count."""

    ac: list[tuple[datetime, float]]
    mapped: list[tuple[datetime, float]]
    dc: list[tuple[datetime, float]]
    metered: list[tuple[datetime, float]]
    temperatures: list[tuple[datetime, float]]
    meter_readings: list[tuple[datetime, int]]
    falls: list[tuple[datetime, int]]


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
    ac = [kwh for meter in meters for _, kwh in shares(vehicle, meter, readings, mappings)]
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


def fleet(
    start: datetime, end: datetime, readings: Sequence[Json], mappings: Sequence[Json]
) -> Json:
    """Return what GET /v1/analytics/fleet has to answer, but for who reports now."""
    vehicles, meters = (
        {each[kind] for each in readings if kind in each} for kind in ("vehicleId", "meterId")
    )
    mapped_vehicles = {each["vehicleId"] for each in mappings}
    readings = [each for each in readings if start < taken(each) <= end]
    own = {each: history(readings, "vehicleId", each) for each in vehicles}
    metering = {each: history(readings, "meterId", each) for each in meters}
    # All that is counted, with the time at which it counts.
    dc_steps = [(vehicle, step) for vehicle in vehicles for step in steps(own[vehicle], DC)]
    ac_steps = [step for meter in meters for step in steps(metering[meter], AC)]
    counted = Counted(
        ac=[(step.end, step.kwh) for step in ac_steps],
        mapped=[
            (step.end, kwh)
            for vehicle in mapped_vehicles
            for meter in meters
            for step, kwh in shares(vehicle, meter, readings, mappings)
        ],
        dc=[(step.end, step.kwh) for _, step in dc_steps],
        metered=[
            (step.end, step.kwh)
            for vehicle, step in dc_steps
            if any(each["vehicleId"] == vehicle and inside(step, each) for each in mappings)
        ],
        temperatures=[(time, each["batteryTemp"]) for rows in own.values() for time, each in rows],
        meter_readings=[(time, 1) for rows in metering.values() for time, _ in rows],
        falls=[(step.end, 1) for step in (*ac_steps, *(each for _, each in dc_steps)) if step.fell],
    )

    def hour_of(time: datetime) -> datetime:
        """Start of the hour in which a time counts; the window's last moment is of its last."""
        return min(start + (time - start) // HOUR * HOUR, end - HOUR)

    def figures(since: datetime, until: datetime) -> Json:
        ac, mapped, dc, metered, temperatures, meter_readings, falls = (
            [value for time, value in each if since <= hour_of(time) < until] for each in counted
        )
        return {
            AC: sum(ac) if ac else None,
            "kwhConsumedAcMapped": sum(mapped) if mapped else None,
            DC: sum(dc) if dc else None,
            "kwhDeliveredDcMetered": sum(metered) if metered else None,
            "efficiency": sum(metered) / sum(mapped) if metered and sum(mapped) else None,
            "avgBatteryTemp": sum(temperatures) / len(temperatures) if temperatures else None,
            "vehicleReadings": len(temperatures),
            "meterReadings": len(meter_readings),
            "vehicleCoverage": len(temperatures) / ((until - since) / MINUTE * len(vehicles))
            if vehicles
            else None,
            "meterCoverage": len(meter_readings) / ((until - since) / MINUTE * len(meters))
            if meters
            else None,
            "counterResets": len(falls),
        }

    hours = [start + number * HOUR for number in range((end - start) // HOUR)]
    return figures(start, end) | {
        "hours": [{"start": hour, **figures(hour, hour + HOUR)} for hour in hours]
    }


def shares(
    vehicle: str, meter: str, readings: Sequence[Json], mappings: Sequence[Json]
) -> list[tuple[Step, float]]:
    """Return the vehicle's share in kWh of each of the meter's steps that belong to it."""

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
        found += [(step, part * step.kwh) for step in run]
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
