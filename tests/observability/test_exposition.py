"""Counts of processes that come and go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.observability.test_metrics import samples

WORKER = """
import sys
from datetime import UTC, datetime
from fleetwatt.observability import metrics
from fleetwatt.streams import METER, Rows
rows = Rows(METER, [("M-1", datetime.now(UTC), 1.0, 230.0)] * int(sys.argv[1]))
metrics.committed([rows], [metrics.Outcome(len(rows), 0, 0)], 0.3)
metrics.QUEUE.set(7)
"""
MASTER = """
import os, subprocess, sys
from fleetwatt.observability import exposition
for _ in range(int(sys.argv[2])):
    worker = subprocess.Popen([sys.executable, "-c", sys.argv[1], "5"])
    worker.wait()
    if sys.argv[3] == "bury":
        exposition.bury(worker.pid, [])
sys.stdout.buffer.write(exposition.render([]))
"""


def after_workers(folder: Path, count: int, then: str) -> dict[tuple[str, ...], float]:
    """What a master shows when workers, one after the other, have stored 5 readings each.

    Not in this process, whose metrics have been declared already.
    """
    shown = subprocess.run(
        [sys.executable, "-c", MASTER, WORKER, str(count), then],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)},
        check=True,
        capture_output=True,
    ).stdout
    return samples(shown)


@pytest.mark.parametrize("then", ["bury", "forget"])
def test_what_ended_processes_counted_is_kept(tmp_path: Path, then: str) -> None:
    shown = after_workers(tmp_path, 3, then)

    assert shown["fleetwatt_readings_total", "accepted", "meter"] == 15
    assert shown["fleetwatt_commit_seconds_count",] == 3
    assert shown["fleetwatt_commit_seconds_sum",] == pytest.approx(0.9)
    assert shown["fleetwatt_commit_seconds_bucket", "0.25"] == 0
    assert shown["fleetwatt_commit_seconds_bucket", "0.5"] == 3


def test_a_buried_process_no_longer_waits_for_anything(tmp_path: Path) -> None:
    assert after_workers(tmp_path, 2, "bury")["fleetwatt_queue_readings",] == 0


def test_files_of_ended_processes_do_not_pile_up(tmp_path: Path) -> None:
    def kinds() -> list[str]:
        return sorted(re.sub(r"\d+", "N", file.name) for file in tmp_path.iterdir())

    after_workers(tmp_path, 1, "bury")
    once = kinds()
    for file in tmp_path.iterdir():
        file.unlink()
    after_workers(tmp_path, 4, "bury")

    assert kinds() == once
    assert "counter_dead.db" in once


def test_a_process_that_ended_before_it_could_count_is_buried_all_the_same(tmp_path: Path) -> None:
    begun_at_most = tmp_path / "histogram_1.db"
    begun_at_most.touch()

    shown = after_workers(tmp_path, 2, "bury")

    assert shown["fleetwatt_commit_seconds_count",] == 2
    assert not begun_at_most.exists()


def test_a_process_that_is_about_to_count_spoils_no_scrape(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()

    shown = after_workers(tmp_path, 2, "forget")

    assert shown["fleetwatt_readings_total", "accepted", "meter"] == 10
