"""Time-series databases of another kind, fed with the same readings: `make bench PEERS=1`.

They keep no latest reading, know no transaction and no SQL, and promise less when they answer;
what is said of that is from their documentation.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import processes, readings
from fleetwatt.streams import STREAMS, Stream

PATIENCE = 30.0  # seconds until what was acknowledged has to show in a query


@dataclass(frozen=True)
class Peer:
    """A server that takes InfluxDB's line protocol.

    Attributes:
        promise: What an answer means.
        path: Where readings are posted.
    """

    name: str
    promise: str
    url: str
    process: psutil.Process
    path: str

    def write_forms(self, folder: Path) -> list[Path]:
        """Write what `post.lua` has to know."""
        return [
            readings.write_form(folder, stream, readings.line_protocol(stream, self.path))
            for stream in STREAMS
        ]

    def stored(self, at_least: int) -> int:
        """Count the readings that are there, once there are as many as that or time is up."""
        deadline = time.monotonic() + PATIENCE
        while (found := sum(map(self._count, STREAMS))) < at_least and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def _count(self, stream: Stream) -> int:
        series = f"{stream.history}_{stream.counter.column}"
        if self.name.startswith("InfluxDB"):
            asked = f'SELECT count("{stream.counter.column}") FROM "{stream.history}"'
            answer = _ask(self.url + "/query?db=bench&q=" + urllib.parse.quote(asked))
            found = answer["results"][0].get("series")
            return int(found[0]["values"][0][1]) if found else 0
        urllib.request.urlopen(f"{self.url}/internal/force_flush").close()
        asked = urllib.parse.quote(f"sum(count_over_time({series}[30d]))")
        end = readings.START.timestamp() + 10 * 86_400
        found = _ask(f"{self.url}/api/v1/query?query={asked}&time={end:.0f}&nocache=1")
        result = found["data"]["result"]
        return int(result[0]["value"][1]) if result else 0


@contextlib.contextmanager
def running(folder: Path) -> Iterator[list[Peer]]:
    """Run those that are installed."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(start(folder / program))
            for program, start in (("influxd", _influxdb), ("victoria-metrics", _victoria_metrics))
            if shutil.which(program)
        ]


@contextlib.contextmanager
def _influxdb(folder: Path) -> Iterator[Peer]:
    folder.mkdir()
    url, internal = processes.free_url(), processes.free_url()
    environment = {
        "INFLUXDB_REPORTING_DISABLED": "true",
        "INFLUXDB_META_DIR": str(folder / "meta"),
        "INFLUXDB_DATA_DIR": str(folder / "data"),
        "INFLUXDB_DATA_WAL_DIR": str(folder / "wal"),
        "INFLUXDB_HTTP_BIND_ADDRESS": url.removeprefix("http://"),
        "INFLUXDB_BIND_ADDRESS": internal.removeprefix("http://"),
        "INFLUXDB_HTTP_LOG_ENABLED": "false",
    }
    with processes.running(["influxd"], f"{url}/ping", folder / "log", environment) as process:
        create = urllib.parse.quote("CREATE DATABASE bench")
        urllib.request.urlopen(f"{url}/query?q={create}", data=b"").close()
        yield Peer(
            f"InfluxDB {_version('influxdb')}",
            "in the write-ahead log of its shard, fsynced; a point is overwritten by a later one",
            url,
            process,
            "/write?db=bench&precision=s",
        )


@contextlib.contextmanager
def _victoria_metrics(folder: Path) -> Iterator[Peer]:
    folder.mkdir()
    url = processes.free_url()
    command = [
        "victoria-metrics",
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr={url.removeprefix('http://')}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
    ]
    with processes.running(command, f"{url}/health", folder / "log") as process:
        yield Peer(
            f"VictoriaMetrics {_version('victoria-metrics')}",
            "in memory, on disk within seconds: a crash loses those; points are not made unique",
            url,
            process,
            "/write?precision=s",
        )


def _version(package: str) -> str:
    command = ["dpkg-query", "-W", "-f=${Version}", package]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.split("[-+~]", said)[0]


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as response:
        return json.load(response)
