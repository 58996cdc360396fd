"""The laws that the simulated fleet keeps."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, pairwise
from random import Random
from typing import Any

import msgspec
import pytest

from fleetwatt.ingestion.decode import Bounds, parse_json
from fleetwatt.simulation.fleet import Fleet
from fleetwatt.simulation.meter import Meter
from fleetwatt.simulation.plan import Identity, Plan
from fleetwatt.simulation.vehicle import FULL, Mode, Vehicle
from fleetwatt.streams import METER, STREAMS, VEHICLE, Stream

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
PLAN = Plan(vehicles=30, meters=20, start=MONDAY, replaced=0.2, moved=0.2)
DAYS = 3


def minute(fleet: Fleet) -> dict[Stream, list[Any]]:
    """Let a fleet live a minute, and return its readings."""
    fleet.advance()
    return {
        stream: [reading for second in range(60) for reading in fleet.readings(stream, second)]
        for stream in STREAMS
    }


def minutes(plan: Plan, count: int) -> list[dict[Stream, list[Any]]]:
    fleet = Fleet(plan)
    return [minute(fleet) for _ in range(count)]


class Past:
    """Some days of a fleet: its readings by device, and what happened."""

    def __init__(self, plan: Plan, days: int) -> None:
        self.fleet = Fleet(plan)
        self.meters: dict[str, list[Any]] = defaultdict(list)
        self.vehicles: dict[str, list[Any]] = defaultdict(list)
        self.replaced: list[tuple[str, str]] = []
        self.moves: list[dict[str, str]] = []
        self.modes: dict[str, list[Mode]] = defaultdict(list)
        self.ambient: list[float] = []
        for _ in range(days * 1440):
            readings = minute(self.fleet)
            for reading in readings[METER]:
                self.meters[reading.meterId].append(reading)
            for reading in readings[VEHICLE]:
                self.vehicles[reading.vehicleId].append(reading)
            for vehicle in self.fleet.vehicles:
                self.modes[vehicle.id].append(vehicle.mode)
            time = self.fleet.now.isoformat()[:16]
            self.replaced += [(meter, time) for meter in self.fleet.replaced]
            self.moves.append(self.fleet.moves)
            self.ambient.append(self.fleet.ambient())


@pytest.fixture(scope="module")
def past() -> Past:
    return Past(PLAN, DAYS)


def falls(readings: list[Any], counter: str) -> list[Any]:
    return [
        later
        for earlier, later in pairwise(readings)
        if getattr(later, counter) < getattr(earlier, counter)
    ]


def test_each_device_reports_once_a_minute_at_a_second_of_its_own(past: Past) -> None:
    for devices in (past.meters, past.vehicles):
        seconds = set()
        for readings in devices.values():
            times = [datetime.fromisoformat(reading.timestamp) for reading in readings]
            assert {(later - earlier).seconds for earlier, later in pairwise(times)} == {60}
            assert len(times) == DAYS * 1440
            seconds.add(times[0].second)
        assert len(seconds) > 10


def test_the_api_finds_every_reading_valid(past: Past) -> None:
    bounds = Bounds(datetime.max.replace(tzinfo=UTC), dict.fromkeys(STREAMS, MONDAY))
    for stream, devices in ((METER, past.meters), (VEHICLE, past.vehicles)):
        some = [reading for readings in devices.values() for reading in readings[::30]]
        parsed = parse_json(msgspec.json.encode(some), [stream], bounds)
        assert (parsed.valid, parsed.rejected) == (len(some), 0)
        assert json.loads(msgspec.json.encode(some[0])).keys() == {
            field.name for field in stream.fields
        }


def test_a_counter_falls_only_where_a_meter_is_replaced(past: Past) -> None:
    fallen = [
        (reading.meterId, reading.timestamp[:16])
        for readings in past.meters.values()
        for reading in falls(readings, "kwhConsumedAc")
    ]
    # A meter that counted nothing since it was new may be replaced again.
    first_replaced = dict(reversed(past.replaced))

    assert len(first_replaced) > 3
    assert set(first_replaced.items()) <= set(fallen) <= set(past.replaced)
    for readings in past.vehicles.values():
        assert not falls(readings, "kwhDeliveredDc")


def test_the_state_of_charge_stays_in_bounds_and_rises_only_while_charging(past: Past) -> None:
    rises = 0
    for readings in past.vehicles.values():
        assert all(0 <= reading.soc <= 100 for reading in readings)
        for earlier, later in pairwise(readings):
            if later.soc > earlier.soc:
                rises += 1
                assert later.kwhDeliveredDc > earlier.kwhDeliveredDc
    assert rises > 1000


def test_what_a_meter_counts_its_vehicles_get_but_for_6_to_12_percent() -> None:
    past = Past(replace(PLAN, replaced=0, moved=0), days=2)
    delivered: dict[str, float] = defaultdict(float)
    for vehicle in past.fleet.vehicles:
        first, *_, last = past.vehicles[vehicle.id]
        delivered[vehicle.meter.id] += last.kwhDeliveredDc - first.kwhDeliveredDc

    consumed = {
        meter: readings[-1].kwhConsumedAc - readings[0].kwhConsumedAc
        for meter, readings in past.meters.items()
    }
    assert sum(kwh > 1 for kwh in consumed.values()) > 10
    for meter, kwh in consumed.items():
        # Registers show 0.001 kWh.
        assert 0.88 * kwh - 0.003 <= delivered[meter] <= 0.94 * kwh + 0.003


def test_nights_and_drives_alternate_with_charging(past: Past) -> None:
    spent = [mode for modes in past.modes.values() for mode in modes]
    shares = {mode: spent.count(mode) / len(spent) for mode in Mode}

    assert 0.02 < shares[Mode.DRIVING] < 0.15
    assert 0.05 < shares[Mode.CHARGING] < 0.4
    assert shares[Mode.PARKED] > 0.5
    # Some nights pass without charging.
    idle = sum(Mode.CHARGING not in modes[:1440] for modes in past.modes.values())
    assert 0 < idle < len(past.modes)


def test_something_charges_at_any_time_of_the_day(past: Past) -> None:
    charging = {
        at % 1440 // 180
        for modes in past.modes.values()
        for at, mode in enumerate(modes)
        if mode is Mode.CHARGING
    }
    assert charging == set(range(8))


def test_a_battery_is_between_the_air_and_what_charging_can_add(past: Past) -> None:
    coldest, warmest = min(past.ambient), max(past.ambient)
    for readings in past.vehicles.values():
        assert all(coldest - 0.1 <= reading.batteryTemp <= warmest + 14.1 for reading in readings)


def test_a_vehicle_is_warmer_after_an_hour_of_charging_than_when_it_has_long_been_parked(
    past: Past,
) -> None:
    above: dict[Mode, list[float]] = defaultdict(list)
    for vehicle, readings in past.vehicles.items():
        at = 0
        for mode, unbroken in groupby(past.modes[vehicle]):
            length = len(list(unbroken))
            long_enough = range(at + (60 if mode is Mode.CHARGING else 360), at + length)
            above[mode] += [
                readings[number].batteryTemp - past.ambient[number] for number in long_enough
            ]
            at += length
    del above[Mode.DRIVING]
    means = {mode: sum(degrees) / len(degrees) for mode, degrees in above.items()}

    assert means[Mode.CHARGING] > means[Mode.PARKED] + 1


def charging(soc: float, ambient: float = 10) -> Vehicle:
    """Return a vehicle that has just begun to charge, and has time to."""
    for seed in range(1000):
        chance = Random(seed)
        meter = Meter(Identity("M-1", Random(0)), chance)
        vehicle = Vehicle(Identity("V-1", Random(seed + 1)), meter, 29_000_000, ambient, chance)
        vehicle.advance(29_000_001, ambient)
        if vehicle.mode is Mode.CHARGING and vehicle._enough == FULL:
            vehicle._until = 29_100_000
            vehicle.soc = soc
            return vehicle
    raise AssertionError


def test_charging_is_at_constant_power_and_then_tapers() -> None:
    vehicle = charging(soc=50)
    powers: list[tuple[float, float]] = []
    now = 29_000_002
    while vehicle.mode is Mode.CHARGING:
        powers.append((vehicle.soc, vehicle.advance(now, 10)))
        now += 1

    full = {power for soc, power in powers if soc < 80}
    assert len(full) == 1
    tapering = [power for soc, power in powers if soc > 80]
    assert all(later <= earlier for earlier, later in pairwise(tapering))
    assert tapering[-1] == pytest.approx(0.05 * full.pop())
    assert FULL <= vehicle.soc <= 100


def test_the_efficiency_of_every_minute_is_within_88_and_94_percent() -> None:
    for vehicle in (charging(soc=50), charging(soc=98)):
        for now in range(29_000_002, 29_000_032):
            before = vehicle.register
            drawn = vehicle.advance(now, 10)
            assert 0.88 <= (vehicle.register - before) / drawn <= 0.94


def test_a_battery_warms_up_while_charging_and_cools_down_afterwards() -> None:
    vehicle = charging(soc=20)
    temperatures = [vehicle.temperature]
    for now in range(29_000_002, 29_000_062):
        vehicle.advance(now, 10)
        temperatures.append(vehicle.temperature)
    assert temperatures == sorted(temperatures)
    assert temperatures[-1] > 11

    vehicle.mode = Mode.PARKED
    for now in range(29_000_062, 29_002_000):
        vehicle.advance(now, 10)
    assert vehicle.temperature == pytest.approx(10, abs=0.01)


def test_the_voltage_sags_under_load(past: Past) -> None:
    loaded: list[float] = []
    idle: list[float] = []
    for readings in past.meters.values():
        for earlier, later in pairwise(readings):
            drew = later.kwhConsumedAc - earlier.kwhConsumedAc
            (loaded if drew > 0.1 else idle).append(later.voltage)
    assert sum(loaded) / len(loaded) < sum(idle) / len(idle) - 0.5
    assert 200 < min(loaded) < max(idle) < 250


def test_the_same_plan_makes_the_same_readings() -> None:
    assert minutes(PLAN, 200) == minutes(PLAN, 200)


@pytest.mark.parametrize("change", [{"seed": "2"}, {"start": MONDAY.replace(day=3)}])
def test_another_seed_or_start_makes_other_readings(change: dict[str, Any]) -> None:
    def values(plan: Plan) -> list[float]:
        return [reading.kwhDeliveredDc for reading in minutes(plan, 1)[0][VEHICLE]]

    assert not set(values(PLAN)) & set(values(replace(PLAN, **change)))


def test_faults_of_the_network_leave_the_readings_as_they_are() -> None:
    faulty = replace(PLAN, loss=0.4, late=0.4, repeat=0.4)

    assert minutes(PLAN, 50) == minutes(faulty, 50)


def test_meters_are_shared_when_they_are_fewer_than_vehicles() -> None:
    fleet = Fleet(replace(PLAN, vehicles=30, meters=20))
    fleet.advance()

    assert len(fleet.moves) == 30
    on = list(fleet.moves.values())
    assert sorted(on.count(meter.id) for meter in fleet.meters) == [1] * 10 + [2] * 10


def test_vehicles_move_now_and_then_and_never_while_charging(past: Past) -> None:
    moves = [(at, vehicle) for at, moved in enumerate(past.moves[1:], 1) for vehicle in moved]

    # 30 vehicles, a fifth of them a day.
    assert 5 < len(moves) < 40
    assert all(past.modes[vehicle][at] is not Mode.CHARGING for at, vehicle in moves)


def test_a_fleet_on_one_meter_stays_there() -> None:
    fleet = Fleet(replace(PLAN, meters=1, moved=20))
    fleet.advance()
    for _ in range(100):
        fleet.advance()
        assert fleet.moves == {}


def test_replacements_come_as_often_as_asked() -> None:
    fleet = Fleet(Plan(vehicles=1, meters=1000, start=MONDAY, replaced=0.5))
    count = 0
    for _ in range(720):
        fleet.advance()
        count += len(fleet.replaced)

    assert 180 < count < 320  # 250, and 4 times the standard deviation
