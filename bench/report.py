"""Tables of what was measured, in Markdown."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# Each case's limit of the same run.
LIMITS = {"batches": "COPY", "backlogs": "COPY", "singles": "empty route"}


def say(progress: str) -> None:
    """Print on stderr how far it is."""
    sys.stderr.write(f"{progress} …\n")


def markdown(figures: Mapping[str, Any]) -> str:
    """Return medians and their ratios to the limits, and a plot of the ratios."""
    rounds: dict[str, list[dict[str, float | None]]] = figures["rounds"]
    promises: dict[str, str] = figures["promises"]
    lines = [
        f"{figures['server']}, the median of {len(rounds['COPY'])} interleaved rounds.",
        "",
        "| case | readings/s | of its limit | p50 ms | p99 ms | API CPU µs/reading "
        "| database CPU µs/reading |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    ratios = {}
    for case, found in rounds.items():
        limit = LIMITS.get(case.split()[0])
        if limit:
            ratios[case] = _ratio(found, rounds[limit])
        own = "1.00" if case in LIMITS.values() else ""
        cells = [
            f"{_median(found, 'rate'):,.0f}",
            f"{ratios[case]:.2f}" if limit else own,
            *(_cell(found, name) for name in ("p50", "p99", "api_cpu", "database_cpu")),
        ]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    lines += ["", *(f"{name} promises: {promise}." for name, promise in promises.items())]
    held = figures["megabytes_while_taking_readings"]
    lines += [
        "",
        f"A request of 10,000 readings takes {figures['megabytes_of_a_request_of_10_000']:.0f} MB "
        "on top of what a worker holds.",
    ]
    if held:
        lines += [
            f"All processes of the API together hold {min(held):.0f} to {max(held):.0f} MB "
            "while they take the readings one after another.",
        ]
    return "\n".join((*lines, "", *_plot(ratios))) + "\n"


def _plot(ratios: Mapping[str, float]) -> list[str]:
    """Write the ratios as a Mermaid chart, which shows where Markdown is shown."""
    return [
        "```mermaid",
        "xychart-beta",
        '    title "Rate, as a part of its limit"',
        f"    x-axis [{', '.join(f'{case!r}'.replace(chr(39), chr(34)) for case in ratios)}]",
        '    y-axis "of COPY; singles: of an empty route" 0 --> 1',
        f"    bar [{', '.join(f'{ratio:.2f}' for ratio in ratios.values())}]",
        "```",
    ]


def _values(found: Sequence[Mapping[str, float | None]], name: str) -> list[float]:
    return [value for measured in found if (value := measured[name]) is not None]


def _median(found: Sequence[Mapping[str, float | None]], name: str) -> float:
    return statistics.median(_values(found, name))


def _cell(found: Sequence[Mapping[str, float | None]], name: str) -> str:
    return f"{_median(found, name):.1f}" if _values(found, name) else ""


def _ratio(
    found: Sequence[Mapping[str, float | None]], limit: Sequence[Mapping[str, float | None]]
) -> float:
    """The median of each round's ratio: what slows a machine slows both."""
    pairs = zip(_values(found, "rate"), _values(limit, "rate"), strict=True)
    return statistics.median(rate / most for rate, most in pairs)
