"""Serves five times the fleet's load while things break, and counts what was acknowledged.

In the first half anything breaks. In the second the workers are left alive, since only those that
live long can show that their memory stays flat.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import database, processes, report
from tests.native.clients import Books, Clients, discrepancies
from tests.native.faults import (
    OF_GUNICORN,
    OF_THE_DATABASE,
    CannotMount,
    Fault,
    Service,
    full,
    history_on_a_small_disk,
    prepare,
)
from tests.native.server import NativeServer
from tests.waiting import eventually

FLEET = 333  # readings a second
TIMES = 5
CLIENTS = 16
PAUSES = (5, 25)  # seconds between faults
GROWTH = 1.1  # times that memory may grow
LOG_TOLD = 5_000  # characters


@dataclass
class Record:
    """What happened meanwhile.

    Attributes:
        faults: How often each came.
        recovery: Seconds from the end of each until requests were answered again.
        memory: Megabytes of the API (PSS), about once a second while no fault was under way.
    """

    faults: Counter[str] = field(default_factory=Counter)
    recovery: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def soak(
    service: Service,
    clients: Clients,
    minutes: float,
    chance: random.Random,
    of_the_database: Sequence[Fault],
) -> Record:
    """Let faults happen for so long."""
    record = Record()
    left: list[Fault] = []
    began = time.monotonic()
    while (passed := (time.monotonic() - began) / 60) < minutes:
        first_half = passed < minutes / 2
        pause = time.monotonic() + chance.uniform(*PAUSES)
        while time.monotonic() < pause:
            time.sleep(1)
            if not first_half:
                record.memory.append(processes.memory(service.master) / 1e6)
        choice = [*of_the_database, *(OF_GUNICORN if first_half else ())]
        # Like cards, so that each comes.
        left = [fault for fault in left if fault in choice] or chance.sample(choice, len(choice))
        fault = left.pop()
        report.say(f"{passed:4.1f} min: {fault.__name__}")
        fault(service, chance)
        record.faults[fault.__name__] += 1
        record.recovery.append(_recovery(clients))
    eventually(lambda: not service.leaks(), "connections or threads leak")
    return record


def _of_the_disk(service: Service, stack: ExitStack) -> Iterable[Fault]:
    """Put history on a disk that can be full, where one can be made here."""
    try:
        disk = stack.enter_context(history_on_a_small_disk(service))
    except CannotMount as error:
        report.say(f"no disk will be full: {error}")
        return

    def fill_the_disk(_: Service, chance: random.Random) -> None:
        with full(disk):
            time.sleep(chance.uniform(2, 6))

    yield fill_the_disk


@contextmanager
def _logs_told(service: Service) -> Iterator[None]:
    """Show how the logs end where something is wrong: they go with the servers."""
    try:
        yield
    except AssertionError:
        for log in (service.log, service.server.log):
            report.say(f"{log.name}:\n{log.read_text()[-LOG_TOLD:]}")
        raise


def _recovery(clients: Clients) -> float:
    ended = time.monotonic()
    # As many as are under way may have been answered before it ended.
    wanted = clients.answered() + 2 * CLIENTS
    eventually(lambda: clients.answered() >= wanted, "requests are not answered again", 60)
    return time.monotonic() - ended


def _growth(memory: Sequence[float]) -> tuple[float, float]:
    """The median of the first fifth of the samples, and of the last."""
    fifth = max(1, len(memory) // 5)
    return statistics.median(memory[:fifth]), statistics.median(memory[-fifth:])


def markdown(
    server: str, seconds: float, seed: int, record: Record, books: Books, wrong: Sequence[str]
) -> Iterable[str]:
    """The report's lines."""
    totals = books.totals
    sent = totals["accepted"] + totals["duplicates"] + totals["rejected"]
    first, last = _growth(record.memory)
    figures = {
        "database": server,
        "duration, min": f"{seconds / 60:.1f}",
        "seed": str(seed),
        "readings answered for": f"{sent:,}, {sent / seconds:,.0f} a second",
        "of them new / seen before / invalid": f"{totals['accepted']:,} / "
        f"{totals['duplicates']:,} / {totals['rejected']:,}",
        "different readings acknowledged": f"{sum(map(len, books.acknowledged.values())):,}",
        "requests answered / 503 / without an answer": f"{totals['answered']:,} / "
        f"{totals['unavailable']:,} / {totals['unanswered']:,}",
        "seconds until answers came again, median / longest": (
            f"{statistics.median(record.recovery):.1f} / {max(record.recovery):.1f}"
        ),
        "memory of the API, MB, first / last / peak": (
            f"{first:.0f} / {last:.0f} / {max(record.memory):.0f}"
        ),
        "lost, stored twice, or else wrong": str(len(wrong)),
    }
    yield from ("| what | figure |", "|---|---|")
    yield from (f"| {name} | {figure} |" for name, figure in figures.items())
    yield from ("", "| fault | times |", "|---|---|")
    yield from (f"| {name.replace('_', ' ')} | {n} |" for name, n in record.faults.most_common())
    yield from ("", *(f"- {complaint}" for complaint in wrong[:50]))


def main() -> None:
    """Run it, print a report, and fail where something is lost, stored twice, or leaks."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--report", type=Path, help="a file for the report, too")
    arguments = parser.parse_args()
    report.say(f"seed {arguments.seed}")
    with NativeServer() as server, tempfile.TemporaryDirectory() as folder:
        prepare(server)
        rate = TIMES * FLEET
        service = Service(server, Path(folder))
        with ExitStack() as stack:
            faults = [*OF_THE_DATABASE, *_of_the_disk(service, stack)]
            with service:
                began = time.monotonic()
                with Clients(service.url, CLIENTS, rate, arguments.seed) as clients:
                    chance = random.Random(arguments.seed)
                    with _logs_told(service):
                        record = soak(service, clients, arguments.minutes, chance, faults)
                seconds = time.monotonic() - began
            books = clients.books()
            wrong = discrepancies(server.url, books)
            version = database.version(server.url)
    first, last = _growth(record.memory)
    if last > GROWTH * first:
        wrong.append(f"the API's memory grew from {first:.0f} to {last:.0f} MB")
    if books.unconfirmed:
        wrong.append("requests were not answered to the end")
    lines = markdown(version, seconds, arguments.seed, record, books, wrong)
    text = "\n".join(lines).rstrip() + "\n"
    sys.stdout.write(text)
    if arguments.report:
        arguments.report.write_text(text)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
