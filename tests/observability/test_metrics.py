from __future__ import annotations

import pytest
from prometheus_client import REGISTRY as DEFAULT
from prometheus_client.parser import text_string_to_metric_families

from fleetwatt.observability import exposition, metrics
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
        for series, value in samples(exposition.render([])).items()
        if series[0] == "fleetwatt_readings_rejected_total"
    }


def test_every_metric_says_whose_it_is_and_what_it_means() -> None:
    declared = [(metric.name, metric.documentation) for metric in metrics.REGISTRY.collect()]
    declared += [(name, family.help) for name, family in (metrics.DATABASE | metrics.BUILD).items()]

    assert all(name.startswith("fleetwatt_") and text for name, text in declared)


def test_a_histogram_or_limit_ends_in_its_unit() -> None:
    names = [metric.name for metric in metrics.REGISTRY.collect() if metric.type == "histogram"]

    assert names
    assert [name for name in names if not name.endswith(UNITS)] == []


def test_none_is_declared_where_another_library_would_show_it() -> None:
    assert [
        metric.name for metric in DEFAULT.collect() if metric.name.startswith("fleetwatt")
    ] == []


def test_a_stream_is_counted_from_0_on() -> None:
    shown = samples(exposition.render([]))

    for stream in STREAMS:
        for outcome in ("accepted", "duplicate"):
            assert ("fleetwatt_readings_total", outcome, stream.name) in shown


def test_rejected_readings_count_by_their_field() -> None:
    before = rejected().get(("voltage", "meter"), 0)

    metrics.rejected(["voltage", "timestamp", "voltage"], [METER])

    assert rejected()["voltage", "meter"] == before + 2


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

    metrics.rejected([field], [METER, VEHICLE])

    assert rejected()[reason, stream] == before + 1


def test_requests_without_a_route_share_a_series_whatever_they_are() -> None:
    for method in ("GET", "BREW", "PROPFIND"):
        metrics.answered(method, None, 404, 0.001)

    shown = exposition.render([]).decode()

    assert "BREW" not in shown
    assert 'method="any",route="unmatched",status="404"' in shown
