"""What the page's first view takes with a large fleet: `python -m bench.page`.

Loads 10,000 vehicles and meters that report every ten minutes and charge five hours a day.
A native server has them, two workers serve them, and Debian's Chromium opens the page.
All run on the same machine, and each view has an empty profile.
Bytes are those over the wire, with headers.
Content is there once the fleet's energy is drawn, and all is there once nothing is awaited.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from bench.history import connected, materialize
from docs.screenshots import take
from fleetwatt.database.schema import migrations
from tests.conftest import serving
from tests.native.server import NativeServer

SLOTS = 6 * 26  # of ten minutes: 26 hours
PATIENCE = 60_000  # ms
# A device's register counts the slots of five hours a day, which begin at a time of its own.
LOAD = """
    INSERT INTO {stream}_telemetry
    SELECT '{prefix}-' || lpad(n::text, 5, '0'), %(start)s::timestamptz + k * interval '10 min',
        {values}
    FROM generate_series(0, %(slots)s - 1) AS k, generate_series(1, %(devices)s) AS n,
        LATERAL (SELECT k + n * 37 %% 144 AS s) AS shifted,
        LATERAL (SELECT s / 144 * 30 + least(30, s %% 144) AS charged) AS counted"""
VALUES = {"meter": "100 + 1.25 * charged, 230", "vehicle": "50, 100 + 1.15 * charged, 20 + n %% 15"}
PREFIXES = {"meter": "M", "vehicle": "V"}
FINISH = """
    INSERT INTO {stream}s_latest SELECT DISTINCT ON ({stream}_id) * FROM {stream}_telemetry
    WHERE time >= %(last)s ORDER BY {stream}_id, time DESC;
    INSERT INTO devices (stream, id, interval_seconds)
    SELECT '{stream}', {stream}_id, 600 FROM {stream}s_latest"""
MAP = """
    INSERT INTO vehicle_meter_mapping
    SELECT 'V-' || lpad(n::text, 5, '0'), 'M-' || lpad(n::text, 5, '0'), '(,)'
    FROM generate_series(1, %(devices)s) AS n"""


def fill(url: str, devices: int) -> None:
    """Load the fleet, up to now, and materialize its hours."""
    now = datetime.now(UTC).replace(microsecond=0)
    given: dict[str, Any] = {
        "start": now - (SLOTS - 1) * timedelta(minutes=10),
        "slots": SLOTS,
        "devices": devices,
        "last": now - timedelta(hours=1),
    }
    with closing(connected(url)) as connection:
        list(migrations.upgrade(connection))
    with closing(connected(url)) as connection, connection.cursor() as cursor:
        for stream, values in VALUES.items():
            names = {"stream": stream, "prefix": PREFIXES[stream], "values": values}
            cursor.execute(LOAD.format(**names), given)
            cursor.execute(FINISH.format(**names), given)
        cursor.execute(MAP, given)
        materialize(connection, now.replace(minute=0, second=0))
        cursor.execute("ANALYZE")


def view(browser: Browser, address: str) -> dict[str, float]:
    """Open the page once with an empty profile; return kB and s."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    received: list[float] = []
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    started = time.monotonic()
    page.goto(address)
    page.locator("#ac-window").wait_for(timeout=PATIENCE)
    content = time.monotonic() - started
    expect(page.locator("[aria-busy]")).to_have_count(0, timeout=PATIENCE)
    whole = time.monotonic() - started
    context.close()
    return {"kB": sum(received) / 1000, "content s": content, "all s": whole}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000, help="vehicles, and meters")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with NativeServer({"max_wal_size": "4GB"}) as server, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        fill(server.url, arguments.devices)
        sys.stderr.write(f"loaded in {time.monotonic() - started:.0f} s\n")
        log = Path(folder) / "log"
        settings = {"FLEETWATT_POOL_SIZE": "4"}
        with serving(server.url, 2, log, **settings) as url, take.launched() as browser:
            runs = [view(browser, f"{url}/") for _ in range(arguments.runs + 1)]
    # The first one pays for connections and caches.
    for run in runs:
        sys.stdout.write(json.dumps({name: round(value, 3) for name, value in run.items()}) + "\n")
    medians = {name: round(statistics.median(run[name] for run in runs[1:]), 3) for name in runs[0]}
    sys.stdout.write(f"medians without the first: {json.dumps(medians)}\n")


if __name__ == "__main__":
    main()
