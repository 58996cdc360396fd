"""Pulls messages from a durable consumer, as they come.

The client's own `fetch` waits for a whole batch or for its time-out. Here one request is always
with the server, which answers it message by message.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from nats.errors import Error as NatsError

from fleetwatt.messaging.layout import ACK_WAIT

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

# Messages and bytes of one request.
BATCH = 1_000
BYTES = 32_000_000
EXPIRES = 30.0  # seconds of a request
HEARTBEAT = 5.0  # seconds after which the server says that it still knows a request
_NANOSECONDS = 1_000_000_000


class Pull:
    """The messages of a durable consumer.

    Attributes:
        held: Those that came and are not settled yet, by their reply's subject; the consumer
            takes out what it has settled.
    """

    def __init__(self, client: Client, stream: str, durable: str) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self.held: dict[str, Msg] = {}
        self._gathered: asyncio.Queue[Msg] = asyncio.Queue()
        self._inbox = client.new_inbox()
        self._left = 0  # messages that the server may still send for the request that it has
        self._heard = 0.0

    async def start(self) -> None:
        """Begin to pull."""
        await self._client.subscribe(
            self._inbox, cb=self._take, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        await self._request()

    async def keep_asking(self) -> None:
        """Ask again where the server has forgotten the request, as after a restart; for ever."""
        while True:
            await asyncio.sleep(HEARTBEAT / 5)
            is_forgotten = time.monotonic() - self._heard > 2 * HEARTBEAT
            # What has gathered goes first: there is a bound to what a process holds.
            if self._gathered.empty() and (is_forgotten or not self._left):
                try:
                    await self._request()
                except NatsError:
                    self._left = 0

    async def keep_held(self) -> None:
        """Let NATS know of messages that are held for long: no other process gets them then."""
        while True:
            await asyncio.sleep(ACK_WAIT / 3)
            for message in list(self.held.values()):
                with suppress(NatsError):
                    await message.in_progress()

    async def gathered(self) -> list[Msg]:
        """Wait for a message; return it with all that have gathered."""
        messages = [await self._gathered.get()]
        while not self._gathered.empty():
            messages.append(self._gathered.get_nowait())
        if not self._left:
            # The next come while these are written.
            await self._request()
        return messages

    def ask_again(self) -> None:
        """Forget the request: the connection is another one."""
        self._left = 0

    async def _take(self, message: Msg) -> None:
        self._heard = time.monotonic()
        if message.headers and "Status" in message.headers and not message.reply:
            if message.headers["Status"] != "100":
                self._left = 0
            return
        self._left = max(0, self._left - 1)
        self.held[message.reply] = message
        self._gathered.put_nowait(message)

    async def _request(self) -> None:
        self._left, self._heard = BATCH, time.monotonic()
        request = {
            "batch": BATCH,
            "max_bytes": BYTES,
            "expires": int(EXPIRES * _NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT * _NANOSECONDS),
        }
        await self._client.publish(self._next, msgspec.json.encode(request), self._inbox)
