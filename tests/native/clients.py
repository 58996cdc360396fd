"""Clients that count: each posts a batch until it is answered, and keeps what was acknowledged.

A reading is known by its device and its second after `START`, and its counter is that second: so
the books need no more than a set of numbers a device, and what is stored can be told right from
wrong.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import psycopg2
from psycopg2 import sql

from fleetwatt.streams import STREAMS
from tests.examples import NOW, Reading, at, meter, vehicle

START = NOW - timedelta(hours=20)
# Seconds until a client takes a request for lost: longer than any that is answered may take.
PATIENCE = 60
DEVICES = 8  # of a client's own
# Of devices that several clients speak for, so that they contend for rows and repeat each other.
SHARED = 20
SHARED_SECONDS = 3_000
# Of requests: most are a single reading; some are a gateway that flushes what it held back.
SIZES = (1,) * 24 + (10, 30, 60, 100, 300, 1_000)
Keys = dict[str, set[int]]


@dataclass
class Books:
    """What clients know.

    Attributes:
        acknowledged: The seconds of each device that were reported as stored, now or before.
        unconfirmed: Those that were sent and never answered; they may be stored or not.
        totals: Of readings: accepted, duplicates, rejected. Of requests: answered, unavailable
            (503) and unanswered.
        wrong: What no client may ever be told.
    """

    acknowledged: Keys = field(default_factory=lambda: defaultdict(set))
    unconfirmed: Keys = field(default_factory=lambda: defaultdict(set))
    totals: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Books) -> None:
        for mine, theirs in (
            (self.acknowledged, other.acknowledged),
            (self.unconfirmed, other.unconfirmed),
        ):
            for device, seconds in theirs.items():
                mine[device] |= seconds
        self.totals += other.totals
        self.wrong += other.wrong


class Clients:
    """Threads that post while the block runs, each over one connection that is kept alive."""

    def __init__(self, url: str, count: int, rate: float, seed: int = 0) -> None:
        """Describe clients.

        Args:
            url: Where to post.
            count: How many threads.
            rate: Readings a second that all of them send together; what an outage held up is made
                up for afterwards, as gateways do.
            seed: Of all that is left to chance.
        """
        self._stopped = threading.Event()
        # A second run on the same tables speaks for other devices.
        self._clients = [
            _Client(url, f"{seed}-{number}", rate / count, self._stopped) for number in range(count)
        ]
        self._threads = [
            threading.Thread(target=client.run, name=f"client {client.name}")
            for client in self._clients
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def books(self) -> Books:
        """What all of them know; final once the block has ended."""
        together = Books()
        for client in self._clients:
            together.add(client.books)
        return together

    def answered(self) -> int:
        """How many requests have been answered so far."""
        return self._total("answered")

    def unavailable(self) -> int:
        """How many requests have been told to come again so far."""
        return self._total("unavailable")

    def _total(self, name: str) -> int:
        # Not from all books together: their dicts grow meanwhile.
        return sum(client.books.totals[name] for client in self._clients)


class _Client:
    """One thread's client."""

    def __init__(self, url: str, name: str, rate: float, stopped: threading.Event) -> None:
        self.name = name
        self.books = Books()
        self._rate = rate
        self._stopped = stopped
        self._chance = random.Random(name)
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        self._next = 0

    def run(self) -> None:
        began = time.monotonic()
        sent = 0
        with closing(self._connection):
            while not self._stopped.is_set():
                batch = list(self._batch())
                self._post_until_answered(batch)
                sent += len(batch)
                self._stopped.wait(began + sent / self._rate - time.monotonic())

    def _batch(self) -> Iterator[tuple[str, int]]:
        """One request's readings: out of order, some of them twice, some that others send, too."""
        size = self._chance.choice(SIZES)
        first = self._chance.randrange(DEVICES)
        batch = [
            (self._own(number), self._next + number // DEVICES)
            for number in range(first, first + size)
        ]
        self._next = batch[-1][1] + 1
        self._chance.shuffle(batch)
        yield from batch
        yield from self._chance.sample(batch, size // 20)
        if self._chance.random() < 0.3:
            shared = self._chance.choice("MV") + f"-shared-{self._chance.randrange(SHARED)}"
            yield shared, self._chance.randrange(SHARED_SECONDS)

    def _own(self, number: int) -> str:
        return f"{'MV'[number % 2]}-{self.name}-{number % DEVICES}"

    def _post_until_answered(self, batch: list[tuple[str, int]]) -> None:
        sent = [reading(*key) for key in batch]
        if self._chance.random() < 0.1:
            sent.append(from_the_future(self._own(0)))
        body = json.dumps(sent)
        given_up = 0.0
        while not given_up or time.monotonic() < given_up:
            if self._post(body, batch, len(sent)):
                return
            # They come back sooner than Retry-After asks, all the harder for the service.
            time.sleep(self._chance.uniform(0.1, 0.3))
            if self._stopped.is_set() and not given_up:
                given_up = time.monotonic() + PATIENCE
        for device, second in batch:
            self.books.unconfirmed[device].add(second)

    def _post(self, body: str, batch: list[tuple[str, int]], size: int) -> bool:
        """Post once; return whether that was the end of it."""
        books = self.books
        try:
            self._connection.request(
                "POST", "/v1/ingestion", body, {"Content-Type": "application/json"}
            )
            response = self._connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException):
            # Never sent, never stored, or stored and never answered: only the next answer tells.
            self._connection.close()
            books.totals["unanswered"] += 1
            return False
        if response.status == 503:
            books.totals["unavailable"] += 1
            return False
        books.totals["answered"] += 1
        invalid = size - len(batch)
        if response.status not in {200, 201, 207}:
            books.wrong.append(f"{response.status}: {answer}")
            return True
        books.totals.update({name: answer[name] for name in ("accepted", "duplicates", "rejected")})
        if answer["accepted"] + answer["duplicates"] != len(batch) or answer["rejected"] != invalid:
            books.wrong.append(f"{len(batch)} readings and {invalid} invalid ones: {answer}")
        for device, second in batch:
            books.acknowledged[device].add(second)
        return True


def reading(device: str, second: int) -> Reading:
    timestamp = at(START + timedelta(seconds=second))
    if device.startswith("M"):
        return meter(meterId=device, kwhConsumedAc=float(second), timestamp=timestamp)
    return vehicle(vehicleId=device, kwhDeliveredDc=float(second), timestamp=timestamp)


def from_the_future(device: str) -> Reading:
    """A reading of a device whose clock is wrong."""
    return reading(device, int(timedelta(days=30).total_seconds()))


def discrepancies(url: str, books: Books, *, exact: bool = False) -> list[str]:
    """Say where the database and the books differ.

    Args:
        url: The database, which held nothing before the clients came.
        books: What they know.
        exact: Whether no answer can have got lost between a commit and a client, so that what was
            reported as stored now is what is there.
    """
    found = list(books.wrong)
    stored: Keys = defaultdict(set)
    with closing(psycopg2.connect(url)) as connection:
        for stream in STREAMS:
            names = {
                "id": sql.Identifier(stream.id.column),
                "counter": sql.Identifier(stream.counter.column),
                "history": sql.Identifier(stream.history),
                "latest": sql.Identifier(stream.latest),
            }
            with connection.cursor("readings") as cursor:
                cursor.itersize = 20_000
                cursor.execute(_HISTORY.format(**names), (START,))
                for device, second, counter in cursor:
                    if second in stored[device]:
                        found.append(f"{device} at {second} s is stored twice")
                    if counter != second:
                        found.append(f"{device} at {second} s is stored with {counter}")
                    stored[device].add(second)
            with connection.cursor() as cursor:
                cursor.execute(_LATEST.format(**names))
                found += [f"latest is not the newest of {device}" for (device,) in cursor]
    found += _differences(stored, books)
    count = sum(map(len, stored.values()))
    accepted = books.totals["accepted"]
    if accepted > count or (exact and accepted < count):
        found.append(f"{accepted} readings were reported as new, {count} are stored")
    return found


_HISTORY = sql.SQL(
    "SELECT {id}, extract(epoch FROM time - %s::timestamptz)::bigint, {counter} FROM {history}"
)
_LATEST = sql.SQL(
    "SELECT {id} FROM (SELECT DISTINCT ON ({id}) {id}, time, {counter} FROM {history} "
    "ORDER BY {id}, time DESC) AS newest FULL JOIN {latest} AS latest USING ({id}) "
    "WHERE newest.time IS DISTINCT FROM latest.time "
    "OR newest.{counter} IS DISTINCT FROM latest.{counter}"
)


def _differences(stored: Keys, books: Books) -> Iterable[str]:
    for device in stored.keys() | books.acknowledged.keys():
        acknowledged = books.acknowledged.get(device, set())
        here = stored.get(device, set())
        if lost := acknowledged - here:
            yield f"{len(lost)} acknowledged readings of {device} are lost, as at {min(lost)} s"
        if extra := here - acknowledged - books.unconfirmed.get(device, set()):
            yield f"{len(extra)} readings of {device} came from nowhere, as at {min(extra)} s"
