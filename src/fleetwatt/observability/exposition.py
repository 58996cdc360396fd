"""Shows the metrics of all processes in Prometheus's text format.

`serving/metrics_folder.py` sets PROMETHEUS_MULTIPROC_DIR before `metrics` is imported. Then each
process counts in files of its own in that folder, and any of them answers for all. When one
has ended, `bury` adds its files to those of the dead, so that they don't grow in number and no
counter falls. What runs beside those processes counts in a folder within it, which is shown, too.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from fleetwatt.observability.buffered import flush
from fleetwatt.observability.metrics import BUILD, DATABASE, REGISTRY, Family, GaugeValue
from fleetwatt.version import VERSION

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Gauges(Collector):
    def __init__(self, declared: Mapping[str, Family], values: Iterable[GaugeValue]) -> None:
        self._declared = declared
        self._values = values

    def collect(self) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(name, family.help, labels=family.labels)
            for name, family in self._declared.items()
        }
        for gauge in self._values:
            families[gauge.name].add_metric(gauge.labels, gauge.value)
        yield from families.values()


def render(values: Iterable[GaugeValue]) -> bytes:
    """Return all metrics of all processes, and the database's gauges, in Prometheus's format."""
    flush()
    found_now = CollectorRegistry()
    found_now.register(_Gauges(BUILD, [GaugeValue("fleetwatt_build_info", 1, (VERSION,))]))
    found_now.register(_Gauges(DATABASE, values))
    return _of_processes() + generate_latest(found_now)


def _of_processes() -> bytes:
    folder = _folder()
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    registry.register(_FromFiles(folder))
    with _locked(folder, fcntl.LOCK_SH):
        return generate_latest(registry)


class _FromFiles(Collector):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        yield from _merged(self._folder.rglob("*.db"), accumulate=True)


def _merged(files: Iterable[Path], *, accumulate: bool) -> Iterable[Metric]:
    begun = [str(file) for file in files if _is_begun(file)]
    merged: Iterable[Metric] = MultiProcessCollector.merge(begun, accumulate)  # type: ignore[no-untyped-call]
    return merged


def _is_begun(file: Path) -> bool:
    """Whether anything is in it: a process that died just after opening it left it empty."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        # A gauge of a process that has ended since.
        return False


def bury(pid: int, alive: Iterable[int]) -> None:
    """Drop the gauges of a process that ended, and add its counters to those of the dead.

    It also adds those that were left because a scrape held the lock. It never waits and never
    raises, since the master calls it.
    """
    folder = _folder()
    if folder is None:
        return
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
    kept = {str(other) for other in alive} | {str(os.getpid())}
    with suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kind in ("counter", "histogram"):
            dead = [
                file
                for file in folder.glob(f"{kind}_*.db")
                if file.stem.removeprefix(f"{kind}_") not in kept
            ]
            if [file.stem for file in dead] != [f"{kind}_dead"]:
                _merge(dead, folder / f"{kind}_dead.db")


def _merge(files: Sequence[Path], into: Path) -> None:
    merged = into.with_suffix(".new")
    merged.unlink(missing_ok=True)
    sums = MmapedDict(str(merged))  # type: ignore[no-untyped-call]
    for metric in _merged(files, accumulate=False):
        for sample in metric.samples:
            names, values = list(sample.labels), list(sample.labels.values())
            key = mmap_key(metric.name, sample.name, names, values, metric.documentation)
            sums.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]
    merged.replace(into)
    for file in files:
        if file != into:
            file.unlink()


def _folder() -> Path | None:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Keep a scrape and a merge apart: half of each would count twice, or not at all."""
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, how)
        yield
