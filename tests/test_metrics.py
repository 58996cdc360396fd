from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY as DEFAULT
from prometheus_client.parser import text_string_to_metric_families

from fleetwatt import metrics
from fleetwatt.readings import ReadingError
from fleetwatt.streams import METER, STREAMS, VEHICLE

UNITS = ("_seconds", "_bytes", "_readings", "_connections")


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Each series with its labels' values, in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def rejected() -> dict[tuple[str, ...], float]:
    return {
        series[1:]: value
        for series, value in samples(metrics.render([])).items()
        if series[0] == "fleetwatt_readings_rejected_total"
    }


def test_every_metric_says_whose_it_is_and_what_it_means() -> None:
    declared = [(each.name, each.documentation) for each in metrics.REGISTRY.collect()]
    declared += [(name, family.help) for name, family in metrics.DATABASE.items()]

    assert all(name.startswith("fleetwatt_") and text for name, text in declared)


def test_a_histogram_or_limit_ends_in_its_unit() -> None:
    names = [each.name for each in metrics.REGISTRY.collect() if each.type == "histogram"]

    assert names
    assert [name for name in names if not name.endswith(UNITS)] == []


def test_none_is_declared_where_another_library_would_show_it() -> None:
    assert [each.name for each in DEFAULT.collect() if each.name.startswith("fleetwatt")] == []


def test_a_stream_is_counted_from_0_on() -> None:
    shown = samples(metrics.render([]))

    for stream in STREAMS:
        for outcome in ("accepted", "duplicate"):
            assert ("fleetwatt_readings_total", outcome, stream.name) in shown


def test_a_rejected_reading_counts_once_by_its_first_fault() -> None:
    before = rejected().get(("voltage", "meter"), 0)

    metrics.rejected(
        [ReadingError(0, "voltage", "no"), ReadingError(0, "timestamp", "no")], [METER]
    )

    assert rejected()["voltage", "meter"] == before + 1


@pytest.mark.parametrize(
    ("field", "reason", "stream"),
    [
        ("soc", "soc", "vehicle"),
        ("timestamp", "timestamp", "unknown"),
        ("made up by a client", "unknown_field", "unknown"),
        (None, "reading", "unknown"),
    ],
)
def test_of_a_mixed_request_the_field_tells_the_stream(
    field: str | None, reason: str, stream: str
) -> None:
    before = rejected().get((reason, stream), 0)

    metrics.rejected([ReadingError(0, field, "no")], [METER, VEHICLE])

    assert rejected()[reason, stream] == before + 1


def test_requests_without_a_route_share_a_series_whatever_they_are() -> None:
    for method in ("GET", "BREW", "PROPFIND"):
        metrics.answered(method, None, 404, 0.001)

    shown = metrics.render([]).decode()

    assert "BREW" not in shown
    assert 'method="any",route="unmatched",status="404"' in shown


WORKER = """
import sys
from datetime import UTC, datetime
from fleetwatt import metrics
from fleetwatt.streams import METER, Rows
rows = Rows(METER, [("M-1", datetime.now(UTC), 1.0, 230.0)] * int(sys.argv[1]))
metrics.committed([rows], [None], 0.3)
metrics.QUEUE.set(7)
"""
MASTER = """
import os, subprocess, sys
from fleetwatt import metrics
for _ in range(int(sys.argv[2])):
    worker = subprocess.Popen([sys.executable, "-c", sys.argv[1], "5"])
    worker.wait()
    if sys.argv[3] == "bury":
        metrics.bury(worker.pid, [])
sys.stdout.buffer.write(metrics.render([]))
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
