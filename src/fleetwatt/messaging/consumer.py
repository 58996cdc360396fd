"""The consumer: takes messages of JetStream, stores their readings, acknowledges after the commit.

One event loop talks to NATS; threads decode and write. What becomes of a message:

- All of its readings are stored: it is acknowledged.
- Some are rejected: the others are stored, a dead letter is written, then it is acknowledged.
- The database is away: it is held until the database is back, and NATS learns that it is.
- A statement fails for this message alone: it comes again; after `TRIES` it is a dead letter.

Where this process dies, another one gets `layout.ACK_WAIT` seconds later what was not acknowledged.
What had been committed is a duplicate then, which changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec
import nats
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from fleetwatt.database.errors import DatabaseError, StatementFailed
from fleetwatt.faults import Fault, Faults
from fleetwatt.messaging import dead_letters, layout, names
from fleetwatt.messaging.delivery import Delivery, Kept, Unkept, is_kept_too
from fleetwatt.messaging.pull import Pull
from fleetwatt.messaging.store import OUR_FAULT
from fleetwatt.observability import buffered, metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from fleetwatt.config import Config
    from fleetwatt.messaging.store import Store

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Seconds between tries while the database is away; the last one again and again.
PAUSES = (0.2, 1.0, 5.0)
# Messages that no stream keeps and that may wait; what comes beyond is lost, as QoS 0 allows.
_MOST_UNKEPT = 10_000
_AWAY = (NatsError, JetStreamError, OSError, TimeoutError)


class Consumer:
    """Stores messages until it is asked to stop."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._stopping = asyncio.Event()
        self._pulls: list[Pull] = []
        self._unkept: asyncio.Queue[Unkept] = asyncio.Queue(_MOST_UNKEPT)

    def stop(self) -> None:
        """Finish what is under way, and let `run` return."""
        self._stopping.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Consume until `stop` is called; where NATS is away, wait for it.

        Args:
            on_ready: Called once messages are taken.
        """
        client = await self._eventually(self._connected, "NATS is away")
        if client is None:
            return
        try:
            jetstream = client.jetstream(timeout=10)
            made = await self._eventually(lambda: self._made(jetstream), "JetStream is not ready")
            if made:
                await self._work(client, jetstream, on_ready)
        finally:
            with suppress(*_AWAY):
                await asyncio.wait_for(client.drain(), 2)

    async def _eventually(
        self, attempt: Callable[[], Awaitable[Result]], complaint: str
    ) -> Result | None:
        """Return what an attempt does as soon as NATS lets it, or None: stopped before."""
        while not self._stopping.is_set():
            try:
                return await attempt()
            except _AWAY as error:
                log.warning("%s: %s", complaint, error or type(error).__name__)
                await self._pause(1)
        return None

    async def _connected(self) -> Client:
        return await nats.connect(
            names.servers_of(self._config.nats_url),
            name="fleetwatt consume",
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            error_cb=_log_error,
            reconnected_cb=self._ask_again,
        )

    async def _made(self, jetstream: JetStreamContext) -> bool:
        config = self._config
        await layout.ensure(jetstream, config.nats_replicas, config.nats_stream_bytes)
        return True

    async def _work(
        self, client: Client, jetstream: JetStreamContext, on_ready: Callable[[], None]
    ) -> None:
        for stream in (names.MQTT, names.READINGS):
            pull = Pull(client, stream, names.DURABLE)
            await pull.start()
            self._pulls.append(pull)
        for subject in layout.UNKEPT_FILTERS:
            await client.subscribe(subject, queue=names.GROUP, cb=self._take_unkept)
        await client.subscribe(names.PING, cb=_answer)
        await client.flush()
        endless = [self._consume_unkept(jetstream), _count()]
        for pull in self._pulls:
            endless += [pull.keep_asking(), pull.keep_held(), self._consume(pull, jetstream)]
        tasks = [asyncio.create_task(work) for work in endless]
        stopped = asyncio.create_task(self._stopping.wait())
        on_ready()
        # One of them ends for a fault of ours alone: then all end, and with them the process.
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _ask_again(self) -> None:
        for pull in self._pulls:
            pull.ask_again()

    async def _consume(self, pull: Pull, jetstream: JetStreamContext) -> None:
        while True:
            messages = await pull.gathered()
            await self._settle(jetstream, [Kept(message) for message in messages])
            for message in messages:
                del pull.held[message.reply]

    async def _take_unkept(self, message: Msg) -> None:
        if is_kept_too(message):
            return
        try:
            self._unkept.put_nowait(Unkept(message))
        except asyncio.QueueFull:
            metrics.message(Unkept.origin, "lost")

    async def _consume_unkept(self, jetstream: JetStreamContext) -> None:
        while True:
            taken = [await self._unkept.get()]
            while not self._unkept.empty():
                taken.append(self._unkept.get_nowait())
            await self._settle(jetstream, taken)

    async def _settle(self, jetstream: JetStreamContext, deliveries: Sequence[Delivery]) -> None:
        """Store messages and acknowledge them, however long the database is away."""
        work = asyncio.create_task(self._settle_all(jetstream, deliveries))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # A stop waits for what has begun: else it would be done twice.
            await work
            raise

    async def _settle_all(
        self, jetstream: JetStreamContext, deliveries: Sequence[Delivery]
    ) -> None:
        left, attempt = deliveries, 0
        while left:
            messages = [delivery.message for delivery in left]
            outcomes = await asyncio.to_thread(self._store.store, messages)
            waiting = []
            for delivery, outcome in zip(left, outcomes, strict=True):
                if isinstance(outcome, Faults | StatementFailed):
                    await _end(jetstream, delivery, outcome)
                else:
                    waiting.append(delivery)
            left = waiting
            if left:
                away = next(outcome for outcome in outcomes if isinstance(outcome, DatabaseError))
                log.warning("%d messages wait for the database: %s", len(left), away)
                if await self._pause(PAUSES[min(attempt, len(PAUSES) - 1)]):
                    # They come again, to the next consumer.
                    return
                attempt += 1

    async def _pause(self, seconds: float) -> bool:
        """Wait, unless a stop is asked for; return whether it is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()


async def _end(
    jetstream: JetStreamContext, delivery: Delivery, outcome: Faults | StatementFailed
) -> None:
    """Acknowledge a message, after its dead letter where it needs one."""
    if isinstance(outcome, StatementFailed):
        log.error("a message under %s can't be stored: %s", delivery.message.subject, outcome)
        if await delivery.later(always=False):
            return
        outcome = Faults(listed=[Fault(None, None, OUR_FAULT)])
    if outcome.listed:
        try:
            await dead_letters.publish(jetstream, delivery.message, outcome, delivery.once)
        except _AWAY as error:
            log.warning("a dead letter can't be written: %s", error or type(error).__name__)
            if await delivery.later(always=True):
                return
    await delivery.done()
    metrics.message(delivery.origin, "rejected" if outcome.listed else "stored")


async def _count() -> None:
    """Write every second what has been counted."""
    while True:
        await asyncio.sleep(1)
        buffered.flush()


async def _answer(message: Msg) -> None:
    who = {"host": socket.gethostname(), "process": os.getpid()}
    await message.respond(msgspec.json.encode(who))


async def _log_error(error: Exception) -> None:
    log.warning("NATS: %s", error or type(error).__name__)
