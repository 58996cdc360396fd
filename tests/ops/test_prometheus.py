"""ops/prometheus/prometheus.yml in a real Prometheus, which needs a key as everybody does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import serving
from tests.native.server import free_port

CONFIG = Path(__file__).parents[2] / "ops" / "prometheus"
PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(not PROMETHEUS, reason="needs prometheus (Debian's package)")


@contextmanager
def scraping(folder: Path, address: str) -> Iterator[str]:
    """Run Prometheus with a copy of the configuration, every 5 seconds, on another address."""
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    file = folder / "prometheus.yml"
    text = file.read_text()
    for what, instead in (("api:8000", address), ("scrape_interval: 15s", "scrape_interval: 5s")):
        assert what in text
        text = text.replace(what, instead)
    file.write_text(text)
    own = f"127.0.0.1:{free_port()}"
    assert PROMETHEUS is not None
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROMETHEUS, *options, f"--web.listen-address={own}"], stdout=log, stderr=log
        )
    try:
        yield f"http://{own}"
    finally:
        process.terminate()
        process.wait(60)


def target(url: str, health: str) -> dict[str, Any]:
    """What Prometheus says of fleetwatt, once that is as expected, or in the end."""
    found: dict[str, Any] = {}
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/api/v1/targets", timeout=5) as response:
                (found,) = json.load(response)["data"]["activeTargets"]
        except (OSError, ValueError):
            found = {"health": "unknown"}
        # On a busy machine the first scrapes may time out.
        if found["health"] == health and "deadline exceeded" not in found["lastError"]:
            break
        time.sleep(0.2)
    return found


def test_prometheus_gets_in_with_the_key_that_the_docs_make(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    key = folder / "fleetwatt.key"
    with key.open("w") as output:
        subprocess.run(
            [sys.executable, "-m", "fleetwatt", "keys", "create", "--scope", "read"],
            env=os.environ | {"FLEETWATT_DATABASE_URL": database_url},
            stdout=output,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    with serving(database_url, 1, tmp_path / "log", FLEETWATT_AUTH="required") as url:
        with scraping(folder, url.removeprefix("http://")) as prometheus:
            found = target(prometheus, "up")
        assert (found["health"], found["lastError"]) == ("up", "")

        key.write_text("fw_000000000000_no")
        with scraping(folder, url.removeprefix("http://")) as prometheus:
            found = target(prometheus, "down")
        assert found["health"] == "down"
        assert "401" in found["lastError"]
