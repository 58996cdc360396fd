"""The arithmetic of docs/explanation/energy.md as a loop over all readings, to be checked by eye.

It knows nothing of fleetwatt and nothing of databases. Readings are the objects that devices
posted, in the order in which they arrived; mappings are the items that GET /v1/mappings lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

AC, DC = "kwhConsumedAc", "kwhDeliveredDc"
REGISTERS = {"meter": AC, "vehicle": DC}
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOISE = 1e-9
LONGEST_GLITCH = 5
JITTER = 1.0  # kWh
EARLY, LATE = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
WARNINGS = (
    "no_mapping",
    "no_readings",
    "shared_meter",
    "shared_meter_uncertain",
    "counter_reset",
    "implausible_step",
    "readings_ignored",
    "estimated_edge",
    "efficiency_above_one",
    "low_coverage",
    "unmetered_energy",
)
Json = dict[str, Any]


class Reading(NamedTuple):
    """A register's value in kWh at a time."""

    time: datetime
    kwh: float


class Step(NamedTuple):
    """What the curve rose by from one reading that was kept to the next."""

    start: datetime
    end: datetime
    kwh: float

    def inside(self, start: datetime, end: datetime) -> float:
        """Return what of it lies in a span: it is spread evenly."""
        length = min(self.end, end) - max(self.start, start)
        return self.kwh * max(length / (self.end - self.start), 0.0)


class Marks:
    """The highest registers kept since the last reset, by the UTC hour."""

    def __init__(self, first: Reading) -> None:
        self.highest = {hour_of(first.time): first.kwh}

    def at(self, time: datetime) -> float:
        """Return the mark: of the time's own hour so far, and of the last hour before it."""
        before = [hour for hour in self.highest if hour < hour_of(time)]
        hours = {hour_of(time), max(before, default=hour_of(time))}
        return max(kwh for hour, kwh in self.highest.items() if hour in hours)

    def keep(self, reading: Reading) -> None:
        hour = hour_of(reading.time)
        self.highest[hour] = max(self.highest.get(hour, 0.0), reading.kwh)


@dataclass
class Curve:
    """A device's readings as one curve.

    Attributes:
        steps: Between neighbours that were kept, in order.
        kept, ignored: The readings.
        falls, jumps: Times of resets, after a fall and after a rise.
    """

    steps: list[Step] = field(default_factory=list)
    kept: list[Reading] = field(default_factory=list)
    ignored: list[Reading] = field(default_factory=list)
    falls: list[datetime] = field(default_factory=list)
    jumps: list[datetime] = field(default_factory=list)

    @property
    def resets(self) -> list[datetime]:
        return sorted(self.falls + self.jumps)

    def energy(self, start: datetime, end: datetime) -> float | None:
        """Return V(end) - V(start), or None where the span has nothing in common with it."""
        if not self.kept or min(end, self.kept[-1].time) <= max(start, self.kept[0].time):
            return None
        return sum(step.inside(start, end) for step in self.steps)

    def narrowed(self, start: datetime, end: datetime) -> tuple[datetime, datetime] | None:
        """Return the first and the last kept reading of a window, both ends included."""
        times = [reading.time for reading in self.kept if start <= reading.time <= end]
        return (times[0], times[-1]) if len(times) > 1 else None

    def cuts(self, moment: datetime, interval: timedelta) -> bool:
        """Whether a moment cuts a step that is longer than two intervals."""
        return any(
            step.start < moment < step.end and step.end - step.start > 2 * interval
            for step in self.steps
        )


def plausible(earlier: Reading, later: Reading, mark: float, max_kw: float) -> bool:
    """Whether a register may come to this: it jitters a little, and has no more than its power."""
    rise = later.kwh - mark
    seconds = (later.time - earlier.time).total_seconds()
    return rise >= -min(JITTER, mark / 100) and rise - JITTER <= max_kw * seconds / 3600


def curve(readings: Sequence[Reading], max_kw: float) -> Curve:
    """Go through a device's readings, which are in order of time."""
    found = Curve()
    if not readings:
        return found
    steady = [plausible(a, b, a.kwh, max_kw) for a, b in pairwise(readings)]
    marks = Marks(readings[0])
    found.kept.append(readings[0])
    last = 0
    while last + 1 < len(readings):
        length = glitch(readings, last, marks, steady, max_kw)
        found.ignored += readings[last + 1 : last + 1 + length]
        kept, before = readings[last + 1 + length], readings[last]
        last += 1 + length
        mark = marks.at(kept.time)
        rise = max(0.0, kept.kwh - mark)
        if plausible(before, kept, mark, max_kw):
            marks.keep(kept)
        else:
            (found.jumps if kept.kwh > mark else found.falls).append(kept.time)
            rise = 0.0
            marks = Marks(kept)
        found.kept.append(kept)
        found.steps.append(Step(before.time, kept.time, rise))
    return found


def glitch(
    readings: Sequence[Reading], last: int, marks: Marks, steady: Sequence[bool], max_kw: float
) -> int:
    """Return how many of the readings after the one kept last are a glitch: 0 to 5."""
    if all(steady[last : last + LONGEST_GLITCH + 1]):
        return 0
    kept = readings[last]

    def follows(reading: Reading) -> bool:
        return plausible(kept, reading, marks.at(reading.time), max_kw)

    def rise(reading: Reading) -> float:
        return max(0.0, reading.kwh - marks.at(reading.time)) if follows(reading) else 0.0

    for length in range(1, LONGEST_GLITCH + 1):
        if last + 1 + length >= len(readings):
            return 0
        first, end, back = (readings[last + step] for step in (1, length, 1 + length))
        if not follows(back):
            continue
        leaves, returns = not follows(first), not steady[last + length]
        if leaves and returns:
            return length
        if length == 1 and leaves != returns:
            through = rise(first) + (0.0 if returns else max(0.0, back.kwh - end.kwh))
            if through - rise(back) > JITTER:
                return 1
    return 0


def hour_of(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


@dataclass
class Device:
    """What people tell of a device."""

    max_kw: float = 1000.0
    interval: timedelta = MINUTE


class World:
    """Everything that is known: readings, mappings and devices."""

    def __init__(
        self,
        readings: Sequence[Json],
        mappings: Sequence[Json],
        devices: dict[tuple[str, str], Device] | None = None,
    ) -> None:
        self.mappings = sorted(mappings, key=bounds)
        self.devices = devices or {}
        self.histories: dict[tuple[str, str], dict[datetime, Json]] = {}
        for reading in readings:
            kind = "vehicle" if "vehicleId" in reading else "meter"
            key = (kind, reading[f"{kind}Id"])
            # Of two at one time the first to arrive counts.
            self.histories.setdefault(key, {}).setdefault(taken(reading), reading)
        self.curves: dict[tuple[str, str], Curve] = {}

    def history(self, kind: str, name: str) -> list[tuple[datetime, Json]]:
        """Return a device's readings by time."""
        return sorted(self.histories.get((kind, name), {}).items(), key=lambda item: item[0])

    def device(self, kind: str, name: str) -> Device:
        return self.devices.get((kind, name), Device())

    def curve(self, kind: str, name: str) -> Curve:
        if (kind, name) not in self.curves:
            told = self.history(kind, name)
            registers = [Reading(time, reading[REGISTERS[kind]]) for time, reading in told]
            self.curves[kind, name] = curve(registers, self.device(kind, name).max_kw)
        return self.curves[kind, name]

    def names(self, kind: str) -> list[str]:
        return sorted(name for stream, name in self.histories if stream == kind)

    def of_meter(self, meter: str) -> list[Json]:
        return [mapping for mapping in self.mappings if mapping["meterId"] == meter]

    def pieces(self, meter: str) -> list[tuple[datetime, datetime, list[str]]]:
        """Return the spans of a meter's life with one set of vehicles each, of an hour at most."""
        own = self.curve("meter", meter).kept
        if not own:
            return []
        first, last = hour_of(own[0].time), hour_of(own[-1].time) + HOUR
        moments = {moment for mapping in self.of_meter(meter) for moment in bounds(mapping)}
        hours = {first + number * HOUR for number in range((last - first) // HOUR + 1)}
        cuts = sorted(hours | {moment for moment in moments if first < moment < last})
        return [
            (start, end, vehicles)
            for start, end in pairwise(cuts)
            if (
                vehicles := sorted(
                    mapping["vehicleId"]
                    for mapping in self.of_meter(meter)
                    if bounds(mapping)[0] <= start and end <= bounds(mapping)[1]
                )
            )
        ]

    def part(self, vehicle: str, piece: tuple[datetime, datetime, list[str]]) -> float:
        """Return a vehicle's part of a piece."""
        start, end, vehicles = piece
        rose = {name: self.curve("vehicle", name).energy(start, end) or 0.0 for name in vehicles}
        everything = sum(rose.values())
        return rose[vehicle] / everything if everything else 1 / len(vehicles)

    def drawn(
        self, vehicle: str, meter: str, start: datetime, end: datetime
    ) -> list[tuple[float, bool]]:
        """Return what a vehicle drew from a meter in a span, piece by piece, and how uncertain."""
        own = self.curve("meter", meter)
        found = []
        for piece in self.pieces(meter):
            if vehicle in piece[2]:
                since, until = max(piece[0], start), min(piece[1], end)
                energy = own.energy(since, until) if since < until else None
                if energy is not None:
                    found.append((energy * self.part(vehicle, piece), self.uncertain(piece)))
        return found

    def uncertain(self, piece: tuple[datetime, datetime, list[str]]) -> bool:
        """Whether a piece's split rests on a vehicle that was not heard at one of its ends."""
        since, until, vehicles = piece
        for name in vehicles if len(vehicles) > 1 else ():
            kept = self.curve("vehicle", name).kept
            late = 2 * self.device("vehicle", name).interval
            if not kept or kept[0].time > since or kept[-1].time < until - late:
                return True
        return False

    def summary(self, vehicle: str, start: datetime, end: datetime, edges: str) -> Json:
        """Return what GET /v1/analytics/performance/{vehicle} has to answer."""
        closed = edges == "readings"

        def asked(time: datetime) -> bool:
            return start <= time < end or (closed and time == end)

        def window(of: Curve) -> tuple[datetime, datetime] | None:
            return of.narrowed(start, end) if closed else (start, end)

        mine = [
            mapping
            for mapping in self.mappings
            if mapping["vehicleId"] == vehicle and overlap(*bounds(mapping), start, end, closed)
        ]
        own = self.curve("vehicle", vehicle)
        span = window(own)
        dc = own.energy(*span) if span else None
        metered = total(
            own.energy(*clipped(bounds(mapping), span)) if span else None for mapping in mine
        )
        readings = [reading for time, reading in self.history("vehicle", vehicle) if asked(time)]
        falls, jumps, ignored = (
            sum(map(asked, times))
            for times in (own.falls, own.jumps, [reading.time for reading in own.ignored])
        )
        interval = self.device("vehicle", vehicle).interval
        ac: list[float] = []
        meter_readings = 0
        expected = 0.0
        shared = uncertain = False
        estimated = not closed and any(own.cuts(moment, interval) for moment in (start, end))
        for mapping in mine:
            since, until = bounds(mapping)
            meter = mapping["meterId"]
            metering = self.curve("meter", meter)
            meter_interval = self.device("meter", meter).interval
            meter_span = window(metering)
            if meter_span:
                for kwh, doubtful in self.drawn(
                    vehicle, meter, *clipped((since, until), meter_span)
                ):
                    ac.append(kwh)
                    uncertain |= doubtful
            within = [
                time
                for time, _ in self.history("meter", meter)
                if since <= time < until and asked(time)
            ]
            meter_readings += len(within)
            falls += sum(since <= time < until and asked(time) for time in metering.falls)
            jumps += sum(since <= time < until and asked(time) for time in metering.jumps)
            ignored += sum(
                since <= reading.time < until and asked(reading.time)
                for reading in metering.ignored
            )
            held = clipped((since, until), (start, end))
            expected += max(held[1] - held[0], timedelta(0)) / meter_interval
            shared |= any(
                other["vehicleId"] != vehicle
                and overlap(*clipped(bounds(other), (since, until)), start, end, closed)
                for other in self.of_meter(meter)
            )
            for narrowed, cut, usual in (
                (span, own, interval),
                (meter_span, metering, meter_interval),
            ):
                for moment in held:
                    if narrowed and (not closed or narrowed[0] < moment < narrowed[1]):
                        estimated |= cut.cuts(moment, usual)
        drawn = sum(ac) if ac else None
        efficiency = metered / drawn if metered is not None and drawn else None
        vehicle_coverage = len(readings) / ((end - start) / interval)
        meter_coverage = meter_readings / expected if expected else None
        temperatures = known(readings, "batteryTemp")
        warnings = {
            "no_mapping": not mine,
            "no_readings": not readings or (bool(mine) and meter_readings == 0),
            "shared_meter": shared,
            "shared_meter_uncertain": uncertain,
            "counter_reset": falls > 0,
            "implausible_step": jumps > 0,
            "readings_ignored": ignored > 0,
            "estimated_edge": estimated,
            "efficiency_above_one": efficiency is not None and efficiency > 1 + NOISE,
            "low_coverage": vehicle_coverage < 0.9
            or (meter_coverage is not None and meter_coverage < 0.9),
            "unmetered_energy": (dc or 0.0) - (metered or 0.0) > NOISE,
        }
        return {
            AC: drawn,
            DC: dc,
            "kwhDeliveredDcMetered": metered,
            "efficiency": efficiency,
            "avgBatteryTemp": mean(temperatures),
            "meterIds": list(dict.fromkeys(mapping["meterId"] for mapping in mine)),
            "vehicleReadings": len(readings),
            "meterReadings": meter_readings,
            "vehicleCoverage": vehicle_coverage,
            "meterCoverage": meter_coverage,
            "counterResets": falls + jumps,
            "ignoredReadings": ignored,
            "warnings": [name for name in WARNINGS if warnings[name]],
        }

    def fleet(self, start: datetime, end: datetime) -> Json:
        """Return one bucket of GET /v1/analytics/fleet."""
        vehicles, meters = self.names("vehicle"), self.names("meter")
        curves = {
            (kind, name): self.curve(kind, name)
            for kind, names in (("vehicle", vehicles), ("meter", meters))
            for name in names
        }
        mapped: list[float] = []
        metered: list[float | None] = []
        for mapping in self.mappings:
            span = clipped(bounds(mapping), (start, end))
            if span[0] < span[1]:
                drawn = self.drawn(mapping["vehicleId"], mapping["meterId"], *span)
                mapped += [kwh for kwh, _ in drawn]
                metered.append(self.curve("vehicle", mapping["vehicleId"]).energy(*span))
        readings = {
            kind: [
                reading
                for name in names
                for time, reading in self.history(kind, name)
                if start <= time < end
            ]
            for kind, names in (("vehicle", vehicles), ("meter", meters))
        }

        def coverage(kind: str, names: list[str]) -> float | None:
            registered = {name for stream, name in self.devices if stream == kind}
            expected = sum(
                (end - start) / self.device(kind, name).interval for name in {*names, *registered}
            )
            return len(readings[kind]) / expected if expected else None

        consumed, delivered = sum(mapped) if mapped else None, total(metered)
        return {
            AC: total(curves["meter", name].energy(start, end) for name in meters),
            "kwhConsumedAcMapped": consumed,
            DC: total(curves["vehicle", name].energy(start, end) for name in vehicles),
            "kwhDeliveredDcMetered": delivered,
            "efficiency": delivered / consumed if delivered is not None and consumed else None,
            "avgBatteryTemp": mean(known(readings["vehicle"], "batteryTemp")),
            "vehicleReadings": len(readings["vehicle"]),
            "meterReadings": len(readings["meter"]),
            "vehicleCoverage": coverage("vehicle", vehicles),
            "meterCoverage": coverage("meter", meters),
            "counterResets": sum(
                start <= time < end for own in curves.values() for time in own.resets
            ),
            "ignoredReadings": sum(
                start <= reading.time < end for own in curves.values() for reading in own.ignored
            ),
        }

    def series_warnings(self, kind: str, name: str, start: datetime, end: datetime) -> list[str]:
        """Return the warnings of a series that is cut into buckets."""
        own = self.curve(kind, name)
        late = self.device(kind, name).interval
        ignored = [reading.time for reading in own.ignored]
        warnings = {
            "counter_reset": any(start <= time < end for time in own.falls),
            "implausible_step": any(start <= time < end for time in own.jumps),
            "readings_ignored": any(start <= time < end for time in ignored),
            "estimated_edge": any(own.cuts(moment, late) for moment in (start, end)),
        }
        return [name for name, holds in warnings.items() if holds]

    def bucket(self, kind: str, name: str, start: datetime, end: datetime) -> Json:
        """Return one bucket of a series."""
        own = self.curve(kind, name)
        inside = [reading for time, reading in self.history(kind, name) if start <= time < end]
        kept = [reading for reading in own.kept if start <= reading.time < end]
        register = REGISTERS[kind]
        return {
            "start": start,
            "end": end,
            register: own.energy(start, end),
            f"last{register[0].upper()}{register[1:]}": kept[-1].kwh if kept else None,
            **told(kind, inside),
            "readings": len(inside),
            "counterResets": sum(start <= time < end for time in own.resets),
            "ignoredReadings": sum(start <= reading.time < end for reading in own.ignored),
        }

    def raw(self, kind: str, name: str, start: datetime, end: datetime) -> list[Json]:
        """Return the items of a series with `bucket=raw`, without the empty ones."""
        own = self.curve(kind, name)
        rises = {step.end: step.kwh for step in own.steps}
        ignored = {reading.time for reading in own.ignored}
        register = REGISTERS[kind]
        return [
            {
                "start": time,
                "end": time,
                register: rises.get(time),
                f"last{register[0].upper()}{register[1:]}": reading[register],
                **told(kind, [reading]),
                "readings": 1,
                "counterResets": int(time in own.resets),
                "ignoredReadings": int(time in ignored),
                "ignored": time in ignored,
            }
            for time, reading in self.history(kind, name)
            if start <= time < end
        ]


def told(kind: str, inside: Sequence[Json]) -> Json:
    """Return what a bucket tells of the measures that are not null."""
    soc, warmth, voltage = (known(inside, measure) for measure in ("soc", "batteryTemp", "voltage"))
    if kind == "meter":
        return {
            "minVoltage": min(voltage, default=None),
            "avgVoltage": mean(voltage),
            "maxVoltage": max(voltage, default=None),
        }
    return {
        "firstSoc": soc[0] if soc else None,
        "lastSoc": soc[-1] if soc else None,
        "minSoc": min(soc, default=None),
        "maxSoc": max(soc, default=None),
        "minBatteryTemp": min(warmth, default=None),
        "avgBatteryTemp": mean(warmth),
        "maxBatteryTemp": max(warmth, default=None),
    }


def known(readings: Sequence[Json], measure: str) -> list[float]:
    return [reading[measure] for reading in readings if reading.get(measure) is not None]


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def total(values: Any) -> float | None:
    """Add what is known; None where nothing is."""
    found = [value for value in values if value is not None]
    return sum(found) if found else None


def taken(reading: Json) -> datetime:
    return datetime.fromisoformat(reading["timestamp"])


def bounds(mapping: Json) -> tuple[datetime, datetime]:
    """Return a mapping's [from, to); since ever and still are the ends of all time."""
    since = datetime.fromisoformat(mapping["validFrom"]) if mapping["validFrom"] else EARLY
    until = datetime.fromisoformat(mapping["validTo"]) if mapping["validTo"] else LATE
    return since, until


def clipped(
    span: tuple[datetime, datetime], to: tuple[datetime, datetime]
) -> tuple[datetime, datetime]:
    return max(span[0], to[0]), min(span[1], to[1])


def overlap(since: datetime, until: datetime, start: datetime, end: datetime, closed: bool) -> bool:
    """Whether [since, until) has a moment in the window, whose end a closed one has, too."""
    return since < until and start < until and (since <= end if closed else since < end)


def gaps(
    own: Sequence[tuple[datetime, Json]], start: datetime, end: datetime, interval: timedelta
) -> list[Json]:
    """Return every span between what is heard of a device in start <= time < end, in order."""
    heard = [time for time, _ in own]
    return [
        {
            "start": since,
            "end": until,
            "seconds": (until - since).total_seconds(),
            "missingReadings": max(round((until - since) / interval) - (until in heard), 0),
        }
        for since, until in pairwise([start, *heard, end])
        if since < until
    ]
