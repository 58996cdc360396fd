#!/usr/bin/env python3
"""Takes the pictures of the page: `make screenshots`, on a service and a fleet of its own.

It needs Debian's chromium, and looks best with fonts-inter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).parent
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
START = 120  # seconds
VEHICLES, METERS = 60, 50
SITES = {"depot-north": "Depot North", "depot-harbour": "Harbour"}
DESK, PHONE = (1280, 760), (390, 844)
SHOTS = (
    ("fleet", "", DESK, "light"),
    ("fleet-dark", "", DESK, "dark"),
    ("fleet-phone", "", PHONE, "light"),
    ("vehicles", "vehicles?site=depot-north", DESK, "light"),
    ("vehicle", "vehicles/{vehicle}", DESK, "light"),
    ("vehicle-phone", "vehicles/{vehicle}", PHONE, "dark"),
    ("operations", "operations", DESK, "light"),
)


@contextmanager
def launched() -> Iterator[Browser]:
    """Run Debian's Chromium with an empty profile and without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `fleetwatt dev` with data in a folder, and give its address."""
    environment = os.environ | {"FLEETWATT_DATA_DIR": str(folder), "FLEETWATT_PORT": "0"}
    command = [sys.executable, "-m", "fleetwatt", "dev"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as service:
        try:
            lines = service.stdout or ()
            yield next(line.split()[-1] for line in lines if line.startswith("fleetwatt serves"))
        finally:
            service.send_signal(signal.SIGTERM)


def simulate(url: str) -> None:
    """Send a day of a fleet, up to now."""
    arguments = ("--vehicles", str(VEHICLES), "--meters", str(METERS), "--since", "26h")
    command = [sys.executable, "-m", "fleetwatt", "simulate", "--url", url, *arguments]
    subprocess.run(command, check=True)


def put(url: str, path: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(
        f"{url}/v1/{path}",
        msgspec.json.encode(body),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=START).close()


def register(url: str) -> None:
    """Say of some devices what people say of theirs."""
    for site, name in SITES.items():
        put(url, f"sites/{site}", {"name": name, "timeZone": "Europe/Berlin"})
    for number in range(1, VEHICLES + 1):
        site = "depot-north" if number % 3 else "depot-harbour"
        put(url, f"devices/vehicles/V-{number:05}", {"name": f"Van {number}", "site": site})
        if number <= METERS:
            body = {"name": f"Bay {number}", "site": site, "maxKw": 50}
            put(url, f"devices/meters/M-{number:05}", body)


def busiest(url: str) -> str:
    """Return the vehicle that drew most."""
    query = f"{url}/v1/analytics/performance?sort=-kwhConsumedAc&limit=1"
    with urllib.request.urlopen(query, timeout=START) as response:
        vehicle: str = msgspec.json.decode(response.read())["items"][0]["vehicleId"]
    return vehicle


def settled(page: Page) -> None:
    """Wait until nothing is awaited any more."""
    expect(page.locator("h1")).not_to_have_text("fleetwatt", timeout=START * 1000)
    expect(page.locator("[aria-busy]")).to_have_count(0, timeout=START * 1000)
    page.wait_for_timeout(1500)  # The rows' warnings come once the table rests.


def take(url: str, browser: Browser) -> None:
    vehicle = busiest(url)
    for name, view, (width, height), scheme in SHOTS:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            timezone_id="Europe/Berlin",
        )
        page.goto(f"{url}/#/{view.format(vehicle=vehicle)}")
        settled(page)
        page.screenshot(path=HERE / f"{name}.png")
        page.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url:
        simulate(url)
        register(url)
        with launched() as browser:
            take(url, browser)


if __name__ == "__main__":
    main()
