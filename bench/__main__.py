"""Measures ingestion: COPY, the limit, beside HTTP; batches, and singles beside an empty route.

Every figure comes with its ratio to a limit of the same run, since machines differ and drift.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench import database, measures, peers, report

Measure = Callable[[int], measures.Round]  # of a round by its number
SIZES = (100, 1_000, 10_000)
BACKLOG = 100  # minutes that a gateway held back


def main() -> None:
    """Run every case in several interleaved rounds, and print tables of the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    parser.add_argument("--memory", type=int, default=5_000_000, help="readings; 0: don't")
    parser.add_argument("--peers", action="store_true", help="InfluxDB and VictoriaMetrics, too")
    parser.add_argument("--json", type=Path, help="a file for all figures of all rounds")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    with contextlib.ExitStack() as stack:
        bench = stack.enter_context(measures.prepared(arguments.seconds))
        others: list[peers.Peer] = []
        if arguments.peers:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            others = stack.enter_context(peers.running(folder))
        cases: dict[str, Measure] = {
            "COPY": _always(bench.copy),
            **{f"batches of {n:,}": _always(bench.batches, n, 4) for n in SIZES},
            "batches of 1,000 by 16 clients": _always(bench.batches, 1_000, 16),
            "backlogs of 1,000": _always(bench.batches, 1_000, 4, BACKLOG),
            "empty route": _always(bench.empty),
            "singles": _always(bench.batches, 1, 64),
        }
        for peer in others:
            cases[f"{peer.name}, batches of 1,000"] = partial(bench.peer, peer, 1_000, 4)
            cases[f"{peer.name}, singles"] = partial(bench.peer, peer, 1, 64)
        # Once for nothing: a new server makes the files of its log, which it later uses again.
        bench.copy()
        rounds: dict[str, list[measures.Round]] = {name: [] for name in cases}
        for number in range(arguments.rounds):
            for name, measure in cases.items():
                report.say(f"round {number + 1} of {arguments.rounds}: {name}")
                rounds[name].append(measure(number))
        report.say("memory")
        one = bench.memory_of_one(10_000)
        held = bench.memory_over(arguments.memory)
        server = database.version(bench.database_url)
    figures = {
        "server": server,
        "rounds": {
            name: [asdict(measured) for measured in found] for name, found in rounds.items()
        },
        "promises": {peer.name: peer.promise for peer in others},
        "megabytes_of_a_request_of_10_000": one,
        "megabytes_while_taking_readings": held,
    }
    sys.stdout.write(report.markdown(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def _always(measure: Callable[..., measures.Round], *arguments: int) -> Measure:
    """Measure the same in each round."""
    return lambda _: measure(*arguments)


if __name__ == "__main__":
    main()
