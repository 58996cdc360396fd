"""A nats-server, devices that publish to it, and consumers beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from fleetwatt.embedded.nats import Nats
from fleetwatt.messaging.link import Link, StreamState
from tests.native.server import free_port
from tests.waiting import PATIENCE, eventually


class Broker:
    """A real nats-server of a test's own, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.nats = Nats(folder, f"127.0.0.1:{self.port}", free_port())
        self.url = self.nats.url
        self.start()

    def start(self) -> None:
        self.process = self.nats.start()

    def kill(self) -> None:
        """End it as a crash of its machine would."""
        self.process.kill()
        self.process.wait()

    @contextmanager
    def link(self) -> Iterator[Link]:
        """Open a link until the end of the block."""
        with closing(Link(self.url)) as link:
            yield link

    def streams(self) -> dict[str, StreamState]:
        with self.link() as link:
            return link.streams()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("nats"))
    yield broker
    broker.kill()


class Consumer:
    """A running `fleetwatt consume`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder / f"consumer-{free_port()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fleetwatt", "consume"],
                env=os.environ | {"FLEETWATT_POOL_SIZE": "1", **settings},
                stderr=log,
            )

    def await_start(self) -> Self:
        eventually(lambda: b"consuming" in self.log.read_bytes(), "it does not consume")
        return self

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


Consume = Callable[..., Consumer]


@pytest.fixture
def consume(broker: Broker, database_url: str, tmp_path: Path) -> Iterator[Consume]:
    """Start consumers from the broker into the database under test, which end with the test."""
    with ExitStack() as stack:

        def start(**settings: str) -> Consumer:
            consumer = Consumer(
                tmp_path,
                **{
                    "FLEETWATT_DATABASE_URL": database_url,
                    "FLEETWATT_NATS_URL": broker.url,
                    **settings,
                },
            )
            stack.callback(consumer.kill)
            return consumer.await_start()

        yield start


class Device:
    """An MQTT client that keeps each message until it is acknowledged."""

    def __init__(self, port: int, user: str = "", password: str = "") -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        if password:
            self.client.username_pw_set(user, password)
        self.refused = threading.Event()
        self.client.on_connect = self._connected
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self.refused.set()

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> paho.MQTTMessageInfo:
        return self.client.publish(topic, payload, qos=qos)

    def send(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Publish, and return when it is acknowledged."""
        eventually(self.client.is_connected, "the device is not connected")
        sent = self.publish(topic, payload, qos)
        sent.wait_for_publish(PATIENCE)
        assert sent.is_published()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def device(port: int, password: str = "") -> Iterator[Device]:
    """Connect a device until the end of the block."""
    connected = Device(port, "device", password)
    try:
        yield connected
    finally:
        connected.close()


def scraped(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
        return text
