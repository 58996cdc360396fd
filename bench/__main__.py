"""Measures ingestion: COPY, the limit, beside HTTP; batches, and singles beside an empty route.

Every figure comes with its ratio to a limit of the same run, since machines differ and drift.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

from bench import database, processes, readings, report
from fleetwatt.streams import STREAMS
from tests.native.server import NativeServer

SCRIPT = Path(__file__).with_name("post.lua")
SIZES = (100, 1_000, 10_000)


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
    folder: Path
    seconds: int

    def copy(self) -> Round:
        """Measure plain COPY into history, two clients: the limit of batches."""
        database.reset(self.database_url)
        return Round(database.copy_for(self.database_url, self.seconds))

    def batches(self, size: int, connections: int) -> Round:
        """Post readings, and see that as many as were acknowledged are in history."""
        database.reset(self.database_url)
        forms = [
            readings.write_form(self.folder, stream, readings.fleetwatt(stream, size))
            for stream in STREAMS
        ]
        before = self._cpu()
        result = wrk(self.api_url, connections, self.seconds, size, forms)
        after = self._cpu()
        sent = (result["requests"] - result["refused"]) * size
        found = database.stored(self.database_url)
        if result["refused"] or result["broken"] or found < sent:
            sys.exit(f"acknowledged {sent} readings, {found} are there: {result}")
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
        result = wrk(self.empty_url, 64, self.seconds, 1, forms)
        return Round(result["requests"] / result["seconds"], result["p50"], result["p99"])

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


def wrk(url: str, connections: int, seconds: int, size: int, forms: list[Path]) -> dict[str, float]:
    """Let wrk post, and return what `post.lua` prints."""
    start = str(int(readings.START.timestamp()))
    command = ["wrk", f"-t{len(forms)}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["-s", str(SCRIPT), url, "--", start, str(size), *map(str, forms)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


def main() -> None:
    """Run every case in several interleaved rounds, and print tables of the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    parser.add_argument("--memory", type=int, default=5_000_000, help="readings; 0: don't")
    parser.add_argument("--json", type=Path, help="a file for all figures of all rounds")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    with prepared(arguments.seconds) as bench:
        cases: dict[str, Callable[[], Round]] = {
            "COPY": bench.copy,
            **{f"batches of {n:,}": partial(bench.batches, n, 4) for n in SIZES},
            "empty route": bench.empty,
            "singles": partial(bench.batches, 1, 64),
        }
        rounds: dict[str, list[Round]] = {name: [] for name in cases}
        for number in range(arguments.rounds):
            for name, measure in cases.items():
                report.say(f"round {number + 1} of {arguments.rounds}: {name}")
                rounds[name].append(measure())
        report.say("memory")
        one = bench.memory_of_one(10_000)
        held = bench.memory_over(arguments.memory)
        server = database.version(bench.database_url)
    figures = {
        "server": server,
        "rounds": {name: [asdict(each) for each in found] for name, found in rounds.items()},
        "megabytes_of_a_request_of_10_000": one,
        "megabytes_while_taking_readings": held,
    }
    sys.stdout.write(report.markdown(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


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
        environment = {"FLEETWATT_DATABASE_URL": url}
        api = stack.enter_context(
            processes.gunicorn("wsgi:app", api_url, folder / "api.log", environment)
        )
        stack.enter_context(
            processes.gunicorn("bench.empty:app", empty_url, folder / "empty.log", environment)
        )
        yield Bench(url, database.server_process(url), api_url, api, empty_url, folder, seconds)


if __name__ == "__main__":
    main()
