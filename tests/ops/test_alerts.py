"""Alert rules and dashboard: Prometheus's own checker accepts them, and all they name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetwatt.observability import metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"
RULES = (PROMETHEUS / "fleetwatt.rules.yml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
DASHBOARD = json.loads((ROOT / "ops" / "grafana" / "dashboards" / "fleetwatt.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian's package prometheus)"
)


def declared() -> set[str]:
    """Return the names of all series that are there, as a query has to spell them."""
    suffixes: dict[str, tuple[str, ...]] = {
        "counter": ("_total",),
        "gauge": ("",),
        "histogram": ("_bucket", "_count", "_sum"),
    }
    series: Any = metrics.REGISTRY.collect()
    return {*metrics.DATABASE, *metrics.BUILD} | {
        metric.name + suffix for metric in series for suffix in suffixes[metric.type]
    }


def named(text: str) -> set[str]:
    return set(re.findall(r"\bfleetwatt_\w+", text))


@promtool
@pytest.mark.parametrize(
    "check",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "fleetwatt.rules.yml"],
        ["test", "rules", "fleetwatt.tests.yml"],
    ],
    ids=lambda check: f"{check[0]} {check[1]}",
)
def test_prometheus_accepts(check: list[str], tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "fleetwatt.key").touch()

    done = subprocess.run(
        ["promtool", *check], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(named(RULES) | named(" ".join(QUERIES))))
def test_a_metric_that_is_looked_at_is_declared(name: str) -> None:
    assert name in declared()


def test_every_metric_is_on_the_dashboard() -> None:
    shown = named(" ".join(QUERIES))
    unseen = {
        re.sub("_(bucket|count|sum)$", "", name)
        for name in declared()
        if re.sub("_(bucket|count|sum)$", "", name)
        not in {re.sub("_(bucket|count|sum)$", "", name) for name in shown}
    }

    assert unseen == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_test_and_an_entry_in_the_runbook(alert: str) -> None:
    entry = f"docs/how-to/alerts.md#{alert.lower()}"

    assert f'alertname="{alert}"' in (PROMETHEUS / "fleetwatt.tests.yml").read_text()
    assert f"runbook: {entry}" in RULES
    assert f"\n## {alert}\n" in (ROOT / "docs" / "how-to" / "alerts.md").read_text()


def test_panels_have_a_title_a_unit_and_a_meaning() -> None:
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
