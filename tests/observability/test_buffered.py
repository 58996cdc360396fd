from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from fleetwatt.observability import buffered
from fleetwatt.observability.buffered import Count, Distribution

BOUNDS = (0.5, 1, 10)


def histogram(registry: CollectorRegistry) -> Histogram:
    return Histogram("seconds", "Seconds", buckets=BOUNDS, registry=registry)


def shown(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.floats(0, 20)), st.lists(st.floats(0, 20)))
@example([0.5, 1, 10], [0.4, 1.1, 11])
def test_a_histogram_is_as_if_each_value_had_been_observed_by_itself(
    first: list[float], then: list[float]
) -> None:
    tallied, plain = CollectorRegistry(), CollectorRegistry()
    distribution, observed = Distribution(histogram(tallied)), histogram(plain)

    for values in (first, then):
        for value in values:
            distribution.observe(value)
            observed.observe(value)
        distribution.flush()

    assert shown(tallied) == pytest.approx(shown(plain))


def test_nothing_is_lost_or_counted_twice_while_threads_count_and_flush() -> None:
    registry = CollectorRegistry()
    count = Count(Counter("things", "Things", registry=registry))
    distribution = Distribution(histogram(registry))

    def work(_: int) -> None:
        for _ in range(500):
            count.inc(2)
            distribution.observe(0.7)
            buffered.flush()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))

    assert registry.get_sample_value("things_total") == 8_000
    assert registry.get_sample_value("seconds_count") == 4_000
    assert registry.get_sample_value("seconds_bucket", {"le": "0.5"}) == 0
    assert registry.get_sample_value("seconds_bucket", {"le": "1.0"}) == 4_000
