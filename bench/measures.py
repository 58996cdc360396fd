"""What is measured, and how: each gives one round of one case."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from bench import database, processes, readings, report
from bench.peers import Peer
from fleetwatt.streams import STREAMS
from tests.native.server import NativeServer

SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Round:
    """What one measurement of one case gave.

    Attributes:
        rate: Readings (requests, of the empty route) a second that were acknowledged.
        p50, p99: Milliseconds until the answer.
        api_cpu, database_cpu: CPU seconds for a million readings.
        memory: Megabytes of all gunicorn processes afterwards.
    """

    rate: float
    p50: float | None = None
    p99: float | None = None
    api_cpu: float | None = None
    database_cpu: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Bench:
    """Where it runs and for how long."""

    database_url: str
    postgres: psutil.Process | None
    api_url: str
    api: psutil.Process
    empty_url: str
    empty_api: psutil.Process
    folder: Path
    seconds: int

    def copy(self) -> Round:
        """Measure plain COPY into history, two clients: the limit of batches."""
        database.reset(self.database_url)
        return Round(database.copy_for(self.database_url, self.seconds))

    def batches(self, size: int, connections: int, minutes: int = 1) -> Round:
        """Post readings, and see that as many as were acknowledged are in history.

        Args:
            size: Readings a request.
            connections: How many clients there are.
            minutes: How many of them are of one device: 1, as they come; more, as a gateway sends
                what it held back.
        """
        database.reset(self.database_url)
        forms = [
            readings.write_form(self.folder, stream, readings.fleetwatt(stream, size))
            for stream in STREAMS
        ]
        before = self._cpu()
        result = wrk(self.api_url, connections, self.seconds, (size // minutes, minutes), forms)
        after = self._cpu()
        # What the load tool left unanswered is stored all the same.
        processes.wait_until_idle(self.api)
        sent = _acknowledged(result, size, database.stored(self.database_url))
        api, postgres = (
            (end - start) / sent * 1e6 if end and start else None
            for start, end in zip(before, after, strict=True)
        )
        return Round(
            sent / result["seconds"],
            result["p50"],
            result["p99"],
            api,
            postgres,
            processes.memory(self.api) / 1e6,
        )

    def empty(self) -> Round:
        """Measure an empty Flask route with the same requests: the limit of singles."""
        forms = [
            readings.write_form(self.folder, stream, readings.fleetwatt(stream, 1, path="/"))
            for stream in STREAMS
        ]
        before = processes.cpu_seconds(self.empty_api)
        result = wrk(self.empty_url, 64, self.seconds, (1, 1), forms)
        used = processes.cpu_seconds(self.empty_api) - before
        answered = result["requests"] - result["refused"]
        return Round(
            answered / result["seconds"], result["p50"], result["p99"], used / answered * 1e6
        )

    def peer(self, peer: Peer, size: int, connections: int, number: int) -> Round:
        """Post the same readings to another server; each round's are of other minutes."""
        start = readings.START + timedelta(hours=12 * number + 6 * (size > 1))
        before, cpu = peer.stored(0), processes.cpu_seconds(peer.process)
        forms = peer.write_forms(self.folder)
        result = wrk(peer.url, connections, self.seconds, (size, 1), forms, start)
        cpu = processes.cpu_seconds(peer.process) - cpu
        sent = result["requests"] * size
        sent = _acknowledged(result, size, peer.stored(before + round(sent)) - before)
        return Round(
            sent / result["seconds"], result["p50"], result["p99"], database_cpu=cpu / sent * 1e6
        )

    def _cpu(self) -> tuple[float, float | None]:
        return (
            processes.cpu_seconds(self.api),
            processes.cpu_seconds(self.postgres) if self.postgres else None,
        )

    def memory_over(self, wanted: int) -> list[float]:
        """Megabytes of the API as it takes readings in thousands, up to so many."""
        taken = 0.0
        found = []
        while taken < wanted:
            measured = self.batches(1_000, 4)
            taken += measured.rate * self.seconds
            found.append(measured.memory or 0.0)
        return found

    def memory_of_one(self, size: int) -> float:
        """Megabytes that a worker takes on top for one request, at its peak."""
        database.reset(self.database_url)
        workers = self.api.children()
        held = {}
        for worker in workers:
            processes.forget_peak(worker)
            held[worker.pid] = processes.peak(worker)
        form = readings.fleetwatt(STREAMS[0], size)
        time = readings.START.isoformat()
        minute = form.minute.replace("@time@", time).replace("@counter@", "1.5")
        body = form.between.join(
            form.device.replace("@id@", readings.device_id(STREAMS[0], number)) + minute
            for number in range(size)
        )
        request = urllib.request.Request(
            self.api_url + form.path,
            f"[{body}]".encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()
        return max(processes.peak(worker) - held[worker.pid] for worker in workers) / 1e6


def _acknowledged(result: dict[str, float], size: int, found: int) -> float:
    """Return how many readings were acknowledged; that they are there is what all rests on."""
    sent = (result["requests"] - result["refused"]) * size
    if result["refused"] or result["broken"] or found < sent:
        sys.exit(f"acknowledged {sent:.0f} readings, {found} are there: {result}")
    return sent


def wrk(
    url: str,
    connections: int,
    seconds: int,
    request: tuple[int, int],
    forms: list[Path],
    since: datetime = readings.START,
) -> dict[str, float]:
    """Let wrk post readings from a time on, and return what `post.lua` prints.

    A request holds readings of so many devices and minutes.
    """
    start = str(int(since.timestamp()))
    command = ["wrk", f"-t{len(forms)}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["-s", str(SCRIPT), url, "--", start, *map(str, request), *map(str, forms)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


@contextlib.contextmanager
def prepared(seconds: int) -> Iterator[Bench]:
    """Start all that is measured: on FLEETWATT_DATABASE_URL, or on a native server of its own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server_url = os.environ.get("FLEETWATT_DATABASE_URL")
        if not server_url:
            server_url = stack.enter_context(NativeServer({"max_wal_size": "4GB"})).url
        report.say("filling the tables")
        url = stack.enter_context(database.created(server_url))
        api_url, empty_url = processes.free_url(), processes.free_url()
        api = stack.enter_context(
            processes.api(api_url, folder / "api.log", {"FLEETWATT_DATABASE_URL": url})
        )
        empty = stack.enter_context(processes.empty_route(empty_url, folder / "empty.log"))
        postgres = database.server_process(url)
        yield Bench(url, postgres, api_url, api, empty_url, empty, folder, seconds)
