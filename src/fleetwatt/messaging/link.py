"""The threads of the API and NATS: what they publish, and what they ask of it.

The client of NATS is asynchronous. A thread of its own runs its event loop; it starts with the
first use, and so after a server's fork.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from fleetwatt.messaging import names
from fleetwatt.messaging.errors import NatsAway, NoNats, NoProgram, StreamFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from nats.aio.client import Client
    from nats.js import JetStreamContext

T = TypeVar("T")
# As callers name it that know nothing of NATS.
JetStream: TypeAlias = "JetStreamContext"
# Seconds until NATS counts as away: of a question, and of a message that is to be kept.
ANSWER = 1.0
KEEP = 10.0
# JetStream's codes of a stream or an account without room.
_FULL = {10_023, 10_047, 10_077}


@dataclass(frozen=True)
class StreamState:
    """What a stream holds.

    Attributes:
        bytes, limit: Its size, and what that may be.
        oldest: Seconds since its oldest message came; 0: there is none.
    """

    messages: int
    bytes: int
    limit: int
    oldest: float


class Link:
    """One connection to NATS of a process, for all of its threads.

    `_lock` guards `_loop`. `_client` belongs to the loop's thread.
    """

    def __init__(self, url: str) -> None:
        """Describe a link.

        Args:
            url: NATS; empty: there is none.
        """
        self._url = url
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is a NATS to use."""
        return bool(self._url)

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Publish a message, and return when a majority of its stream's servers has it.

        Raises:
            NoNats: None is set.
            StreamFull: The stream has no room.
            NatsAway: No server confirmed it; the stream may have it.
        """
        self._run(self._publish(subject, payload, dict(headers)), KEEP)

    def check(self) -> None:
        """Make sure that NATS answers and a consumer runs.

        Raises:
            NatsAway: It doesn't, or none does.
        """
        self._run(self._ping(), ANSWER)

    def consumers(self) -> int:
        """Count the consumers that answer within a moment."""
        return self._run(self._count_consumers(), 2 * ANSWER)

    def streams(self) -> dict[str, StreamState]:
        """Return the state of each of fleetwatt's streams that is there, by its name."""
        return self._run(self._look(), 2 * ANSWER)

    def _run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        if not self._url:
            work.close()
            raise NoNats("FLEETWATT_NATS_URL is empty")
        future = asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(work, seconds), self._running_loop()
        )
        try:
            return future.result(seconds + 1)
        except (NatsAway, NoProgram):
            raise
        except Exception as error:
            raise NatsAway(str(error) or type(error).__name__) from error

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="nats", daemon=True).start()
            return self._loop

    def close(self) -> None:
        """End the connection and its thread; a later use begins with new ones."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._disconnect(loop), loop)

    async def _disconnect(self, loop: asyncio.AbstractEventLoop) -> None:
        client, self._client = self._client, None
        try:
            if client is not None:
                await client.close()
        finally:
            loop.stop()

    async def _connected(self) -> Client:
        try:
            import nats
        except ImportError:
            raise NoProgram("NATS needs `pip install 'fleetwatt[mqtt]'`") from None
        if self._client is None or self._client.is_closed:
            self._client = await nats.connect(
                names.servers_of(self._url),
                name="fleetwatt serve",
                connect_timeout=1,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.5,
                error_cb=_ignore,
            )
        if not self._client.is_connected:
            raise NatsAway("the connection was lost")
        return self._client

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        from nats.js.errors import APIError

        client = await self._connected()
        try:
            await client.jetstream().publish(
                subject, payload, timeout=KEEP, stream=names.READINGS, headers=headers or None
            )
        except APIError as error:
            if error.err_code in _FULL:
                raise StreamFull("the stream is full") from None
            raise

    async def _ping(self) -> None:
        client = await self._connected()
        await client.request(names.PING, timeout=ANSWER)

    async def _count_consumers(self) -> int:
        client = await self._connected()
        answers: list[object] = []

        async def count(message: object) -> None:
            if not getattr(message, "headers", None):  # else NATS says that no consumer listens
                answers.append(message)

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=count)
        await client.publish(names.PING, reply=inbox)
        await asyncio.sleep(ANSWER / 2)
        await subscription.unsubscribe()
        return len(answers)

    async def _look(self) -> dict[str, StreamState]:
        client = await self._connected()
        found = {}
        for name in names.STREAMS:
            reply = await client.request(f"$JS.API.STREAM.INFO.{name}", timeout=ANSWER)
            info = msgspec.json.decode(reply.data, type=_Info)
            if info.config and info.state:
                found[name] = StreamState(
                    info.state.messages,
                    info.state.bytes,
                    info.config.max_bytes,
                    info.state.age(datetime.now(UTC)),
                )
        return found


class _State(msgspec.Struct):
    messages: int
    bytes: int
    first_ts: datetime

    def age(self, now: datetime) -> float:
        return max(0.0, (now - self.first_ts).total_seconds()) if self.messages else 0.0


class _Config(msgspec.Struct):
    max_bytes: int


class _Info(msgspec.Struct):
    """What JetStream says of a stream; of one that is not there, neither."""

    config: _Config | None = None
    state: _State | None = None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


async def _ignore(error: Exception) -> None:
    """Do nothing: the caller gets the error."""


async def with_jetstream(url: str, work: Callable[[JetStreamContext], Awaitable[None]]) -> None:
    """Do work on a JetStream, over a connection of its own.

    Raises:
        NoProgram: NATS' client is not installed.
        NatsAway: NATS does not answer, or has no such stream.
    """
    try:
        import nats
        from nats.errors import Error as NatsError
        from nats.js.errors import Error as JetStreamError
    except ImportError:
        raise NoProgram("NATS needs `pip install 'fleetwatt[mqtt]'`") from None
    away = (NatsError, JetStreamError, OSError, TimeoutError)
    try:
        client = await nats.connect(
            names.servers_of(url),
            connect_timeout=2,
            allow_reconnect=False,
            # Also how often the client looks for a first server; 0 would be without end.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.2,
            error_cb=_ignore,
        )
        try:
            await work(client.jetstream())
        finally:
            await client.close()
    except away as error:
        raise NatsAway(f"FLEETWATT_NATS_URL: {error or type(error).__name__}") from None
