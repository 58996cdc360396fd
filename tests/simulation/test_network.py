"""What the simulated network does to readings, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fleetwatt.simulation.network import OUTAGE, Network, Traffic
from fleetwatt.simulation.plan import Plan
from fleetwatt.streams import METER

SECONDS, MINUTES, DEVICES = 60, 400, 5
SENT = SECONDS * MINUTES * DEVICES
FLAWLESS = Plan(
    vehicles=1, meters=1, start=datetime(2026, 3, 2, tzinfo=UTC), loss=0, late=0, repeat=0
)


class Arrived:
    """What arrived of readings (minute, second, device) that were all sent in their minute."""

    def __init__(self, plan: Plan) -> None:
        self.first: dict[Any, int] = {}  # at which minute a reading arrived first
        self.times: Counter[Any] = Counter()
        self.again: list[tuple[Any, int]] = []
        self.orders: list[list[Any]] = []
        network = Network(plan)
        for minute in range(MINUTES):
            for second in range(SECONDS):
                readings = [(minute, second, device) for device in range(DEVICES)]
                self._take(network.carry(METER, second, readings), minute)
        self.before_draining = len(self.first)
        for delivery in network.drain():
            self._take(delivery, MINUTES)
        self.traffic: Traffic = network.traffic[METER]

    def _take(self, delivery: Any, minute: int) -> None:
        self.orders.append(delivery.readings)
        for reading in delivery.readings:
            assert reading not in self.first
            self.first[reading] = minute
            self.times[reading] += 1
        for reading in delivery.again:
            assert reading in self.first
            self.again.append((reading, minute))
            self.times[reading] += 1

    @property
    def late(self) -> list[Any]:
        return [reading for reading, minute in self.first.items() if minute > reading[0]]


def test_a_flawless_network_delivers_everything_at_once_in_order() -> None:
    arrived = Arrived(FLAWLESS)

    assert arrived.traffic == Traffic(made=SENT)
    assert len(arrived.first) == SENT
    assert not arrived.late
    assert not arrived.again
    assert all(order == sorted(order) for order in arrived.orders)


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_as_many_get_lost_as_asked(share: float) -> None:
    arrived = Arrived(replace(FLAWLESS, loss=share))

    assert SENT - len(arrived.first) == arrived.traffic.lost
    assert arrived.traffic.lost / SENT == pytest.approx(share, rel=0.15)


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_as_many_come_twice_as_asked_and_the_second_time_later(share: float) -> None:
    arrived = Arrived(replace(FLAWLESS, repeat=share))

    assert len(arrived.again) == arrived.traffic.repeated
    assert arrived.traffic.repeated / SENT == pytest.approx(share, rel=0.15)
    assert set(arrived.times.values()) == {1, 2}
    assert all(minute == reading[0] + 1 for reading, minute in arrived.again)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_as_many_come_late_as_asked_and_none_is_missing(share: float) -> None:
    arrived = Arrived(replace(FLAWLESS, late=share))

    assert len(arrived.first) == SENT
    assert len(arrived.late) == arrived.traffic.late
    assert arrived.traffic.late / SENT == pytest.approx(share, rel=0.25)
    delays = [arrived.first[reading] - reading[0] for reading in arrived.late]
    assert min(delays) == 1
    assert max(delays) >= OUTAGE[-1]


def test_what_an_outage_held_back_comes_in_no_order() -> None:
    arrived = Arrived(replace(FLAWLESS, late=0.3))

    backlogs = [order for order in arrived.orders if len(order) > 10 * DEVICES]
    assert backlogs
    assert all(order != sorted(order) for order in backlogs)


def test_what_is_held_back_at_the_end_is_sent_then() -> None:
    arrived = Arrived(replace(FLAWLESS, late=0.5, repeat=0.1))

    assert arrived.before_draining < SENT == len(arrived.first)
    assert len(arrived.again) == arrived.traffic.repeated


def test_the_same_plan_has_the_same_faults() -> None:
    plan = replace(FLAWLESS, loss=0.1, late=0.1, repeat=0.1)

    assert Arrived(plan).orders == Arrived(plan).orders
    assert Arrived(plan).orders != Arrived(replace(plan, seed="2")).orders
