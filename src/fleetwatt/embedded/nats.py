"""Starts the NATS that takes MQTT beside the embedded service."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import click

from fleetwatt.embedded import children
from fleetwatt.messaging import server

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

START_TIMEOUT = 30.0  # seconds until it listens
POLL = 0.05  # seconds between looks


class Nats:
    """A server of NATS on a folder, alone, that takes MQTT.

    Attributes:
        mqtt: Where it takes MQTT, host and port.
        url: Where it takes clients of NATS.
    """

    def __init__(self, folder: Path, mqtt: str, port: int) -> None:
        """Describe a server.

        Args:
            folder: Where its streams, its settings and its log lie.
            mqtt: Where it is to take MQTT, host and port.
            port: Where on 127.0.0.1 it is to take clients of NATS.
        """
        self.mqtt = mqtt
        self.url = f"nats://127.0.0.1:{port}"
        self._folder = folder
        self._server = server.Server(
            name="fleetwatt", folder=folder, listen=f"127.0.0.1:{port}", mqtt=mqtt
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the API and the consumer have to know."""
        return {"FLEETWATT_NATS_URL": self.url, "FLEETWATT_NATS_REQUIRED": "yes"}

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self._folder / "server.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, and return once it listens.

        Raises:
            ClickException: It did not start; the message has the end of its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "server.json"
        settings.touch(0o600)
        settings.write_text(json.dumps(self._server.settings(), indent=1))
        command = [server.program(), "--config", str(settings), "--log", str(self.log)]
        process = children.start(command, {})
        deadline = time.monotonic() + START_TIMEOUT
        while not (_listens(self.mqtt) and _listens(self.url.removeprefix("nats://"))):
            if process.poll() is not None or time.monotonic() > deadline:
                children.end([process], 0)
                said = self.log.read_text(errors="replace").splitlines()[-4:]
                raise click.ClickException("\n".join(["NATS did not start:", *said]))
            time.sleep(POLL)
        return process


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), 1).close()
    except OSError:
        return False
    return True
