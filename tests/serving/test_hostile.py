"""What a request costs, whatever is in it: memory and size of the answer, by all processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import gunicorn
from tests.fuzz import hostile

LARGEST = 2_000_000  # bytes of an answer
MOST_MEMORY = 300_000_000  # bytes of all processes
AT_ONCE = 4


@contextmanager
def memory_watched(master: psutil.Process, taken: list[int]) -> Iterator[None]:
    """Note what a master and its workers hold, shared parts once, while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            with suppress(psutil.NoSuchProcess):
                processes = (master, *master.children())
                taken.append(sum(process.memory_full_info().pss for process in processes))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_no_request_of_the_hostile_corpus_takes_much_memory_or_gets_a_large_answer(
    database_url: str, tmp_path: Path
) -> None:
    taken: list[int] = []
    large = {}
    with (
        gunicorn(database_url, 2, tmp_path / "log") as (url, master),
        memory_watched(psutil.Process(master.pid), taken),
        ThreadPoolExecutor(AT_ONCE) as clients,
    ):
        for attack in hostile.corpus():
            body = attack.body()
            sent = [clients.submit(hostile.send, url, attack, body) for _ in range(AT_ONCE)]
            for status, size in (answer.result() for answer in sent):
                if size > LARGEST or status >= 500:
                    large[attack.name] = status, size

    assert large == {}
    assert 0 < max(taken) < MOST_MEMORY
