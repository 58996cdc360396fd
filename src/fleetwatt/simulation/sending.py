"""From a fleet to the API: batches over several connections, and the account of them.

One thread makes the readings; `connections` others post them. At most twice as many batches wait,
so that a slow server slows the fleet down. The account has a lock, since every thread writes to it.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from fleetwatt.simulation.fleet import Fleet
from fleetwatt.simulation.network import Delivery, Network
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetwatt.simulation.client import Client, Reply
    from fleetwatt.simulation.fleet import Known, Reading
    from fleetwatt.simulation.plan import Plan

WAITING = 2  # batches that wait for each connection


class Batch(NamedTuple):
    """Readings for one request; `again`: those that have been sent before."""

    stream: Stream
    readings: list[Reading]
    again: bool


@dataclass
class Account:
    """What was sent of a stream and what the API said to it, in readings.

    Attributes:
        retries: Requests that were sent again since no answer came.
        unsure: Duplicates in such a retry of readings that this run had not sent before. The first
            try stored them and its answer got lost, or an earlier run stored them.
    """

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    retries: int = 0
    unsure: int = 0

    @property
    def unanswered(self) -> int:
        return self.sent - self.accepted - self.duplicates - self.rejected


@dataclass
class Mappings:
    """What the API said to the mappings of vehicles to meters."""

    created: int = 0
    unchanged: int = 0
    conflicts: int = 0


@dataclass
class Accounts:
    """The accounts of a run, and the first of the errors that the API named."""

    streams: dict[Stream, Account] = field(
        default_factory=lambda: {stream: Account() for stream in STREAMS}
    )
    mappings: Mappings = field(default_factory=Mappings)
    first_error: str = ""


class Sender:
    """Sends batches and mappings, and keeps account; use it as a context manager.

    Leaving it waits for all answers, unless an exception leaves it: then for those under way.
    """

    def __init__(self, client: Client, *, connections: int, batch_size: int) -> None:
        self.accounts = Accounts()
        self._client = client
        self._size = batch_size
        self._gathered: dict[tuple[Stream, bool], list[Reading]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(connections, "fleetwatt-simulate")
        self._limit = WAITING * connections
        self._under_way: set[Future[None]] = set()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
                self._settle(0)
        finally:
            # After an exception, what is being retried is given up.
            self._client.stop()
            self._threads.shutdown(cancel_futures=True)
            self._client.close()

    def add(self, delivery: Delivery) -> None:
        """Send what arrived, batch by batch; the rest gathers until the next `add` or `flush`.

        Raises:
            SendingFailed: An earlier batch could not be sent.
        """
        for again, readings in ((False, delivery.readings), (True, delivery.again)):
            gathered = self._gathered.setdefault((delivery.stream, again), [])
            gathered += readings
            while len(gathered) >= self._size:
                self._submit(Batch(delivery.stream, gathered[: self._size], again))
                del gathered[: self._size]

    def flush(self) -> None:
        """Send what has gathered."""
        for (stream, again), gathered in self._gathered.items():
            if gathered:
                self._submit(Batch(stream, gathered, again))
        self._gathered = {}

    def map(self, moves: dict[str, str], valid_from: datetime) -> None:
        """Put vehicles on meters, and return when that is done."""
        for vehicle, meter in moves.items():
            self._start(self._map, vehicle, meter, valid_from)
        self._settle(0)

    def _submit(self, batch: Batch) -> None:
        with self._lock:
            self.accounts.streams[batch.stream].sent += len(batch.readings)
        self._start(self._post, batch)

    def _start(self, work: Any, *arguments: Any) -> None:
        self._settle(self._limit - 1)
        self._under_way.add(self._threads.submit(work, *arguments))

    def _settle(self, limit: int) -> None:
        """Wait until no more than `limit` requests are under way; raise what went wrong in one."""
        while True:
            done = {future for future in self._under_way if future.done()}
            self._under_way -= done
            for future in done:
                future.result()
            if len(self._under_way) <= limit:
                return
            wait(self._under_way, return_when="FIRST_COMPLETED")

    def _post(self, batch: Batch) -> None:
        reply = self._client.post(f"/v1/ingestion/{batch.stream.name}", batch.readings)
        # All were invalid: the problem counts none.
        body = {"rejected": len(batch.readings)} if reply.status == 422 else reply.body
        account = self.accounts.streams[batch.stream]
        with self._lock:
            account.accepted += body.get("accepted", 0)
            account.duplicates += body.get("duplicates", 0)
            account.rejected += body["rejected"]
            account.retries += reply.retries
            if reply.retries and not batch.again:
                account.unsure += body.get("duplicates", 0)
            self._note_error(reply)

    def _map(self, vehicle: str, meter: str, valid_from: datetime) -> None:
        mapping = {"vehicleId": vehicle, "meterId": meter, "validFrom": valid_from}
        reply = self._client.post("/v1/ingestion/mapping", mapping)
        mappings = self.accounts.mappings
        with self._lock:
            mappings.created += reply.status == 201
            mappings.unchanged += reply.status == 200
            mappings.conflicts += reply.status == 409
            self._note_error(reply)

    def _note_error(self, reply: Reply) -> None:
        errors = reply.body.get("errors")
        if errors and not self.accounts.first_error:
            self.accounts.first_error = f"{errors[0]['field']}: {errors[0]['message']}"


class Run:
    """A fleet on its way through time, its network, and the account of what was sent.

    Attributes:
        moved, replaced: How many vehicles moved, and how many meters were replaced.
    """

    def __init__(
        self, plan: Plan, end: datetime | None, sender: Sender, known: Known | None = None
    ) -> None:
        """Prepare a run to before the minute `end`; None: until `stop`.

        Args:
            plan: What is simulated.
            end: The minute before which it ends.
            sender: Sends it.
            known: The readings from which the fleet goes on; None: from the plan's own.
        """
        self.moved = self.replaced = 0
        self._plan = plan
        self._end = end
        self._sender = sender
        self._fleet = Fleet(plan, known)
        self._network = Network(plan)
        self._stopped = threading.Event()

    def minutes(self) -> Iterator[datetime]:
        """Simulate and send minute by minute, past ones at once, later ones when they come."""
        while self._end is None or self._fleet.now + MINUTE < self._end:
            self._fleet.advance()
            self._map()
            for second in range(60):
                self._await(self._fleet.now + second * SECOND)
                if self._stopped.is_set():
                    return
                self._send(
                    self._network.carry(stream, second, self._fleet.readings(stream, second))
                    for stream in STREAMS
                )
            yield self._fleet.now

    def stop(self) -> None:
        """End `minutes` at the next second."""
        self._stopped.set()

    def finish(self) -> None:
        """Send what gateways still hold back."""
        self._send(self._network.drain())

    def report(self) -> dict[str, Any]:
        """Return what was simulated, what was sent and what the API answered."""
        accounts = self._sender.accounts
        return {
            "seed": self._plan.seed,
            "start": self._plan.start,
            "end": self._fleet.now + MINUTE,
            "vehicles": self._plan.vehicles,
            "meters": self._plan.meters,
            "streams": {
                stream.name: asdict(self._network.traffic[stream])
                | asdict(account)
                | {"unanswered": account.unanswered}
                for stream, account in accounts.streams.items()
            },
            "mappings": asdict(accounts.mappings) | {"moved": self.moved},
            "replacedMeters": self.replaced,
            "firstError": accounts.first_error or None,
        }

    def _map(self) -> None:
        if self._fleet.moves:
            self._sender.map(self._fleet.moves, self._fleet.now)
        if self._fleet.now > self._plan.start:
            self.moved += len(self._fleet.moves)
        self.replaced += len(self._fleet.replaced)

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self._sender.add(delivery)

    def _await(self, moment: datetime) -> None:
        ahead = (moment - datetime.now(UTC)).total_seconds()
        if ahead > 0:
            self._sender.flush()
            self._stopped.wait(ahead)
