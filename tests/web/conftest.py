"""A simulated fleet, a service with it, and Debian's Chromium."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from docs.screenshots import take
from fleetwatt.embedded.database import EmbeddedDatabase
from fleetwatt.security import keys
from tests.conftest import copied, refresh, serving

VEHICLES, METERS = 12, 10
PATIENCE = 60_000  # ms
# No id of the API; but an id that another program wrote into the tables must do no harm, either.
HOSTILE_ID = "<img src=x onerror=hacked=1>"
HOSTILE_NAME = "</td><script>hacked=2</script><img src=x onerror=hacked=2>"
HOSTILE_SITE = "\"><svg onload=hacked=3>'"
WATCH = """
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none."""
    if take.CHROMIUM.exists():
        return
    for item in items:
        if "page" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="it needs Debian's chromium"))


@dataclass
class Opened:
    """A page in the browser, the addresses that it asked for, and what went wrong in it."""

    page: Page
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        """Open an address and wait until nothing is awaited any more."""
        self.page.goto("about:blank")
        self.page.goto(address)
        self.settle()
        return self.page

    def settle(self) -> None:
        expect(self.page.locator("h1").first).to_be_visible(timeout=PATIENCE)
        expect(self.page.locator("[aria-busy]")).to_have_count(0, timeout=PATIENCE)

    def first_asked(self, path: str) -> str:
        """Return the first address asked for that has this in it."""
        return next(address for address in self.asked if path in address)

    def violations(self) -> list[str]:
        return list(self.page.evaluate("window.violations"))


@pytest.fixture(scope="module")
def database(
    embedded_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedDatabase]:
    """A database of this file's own."""
    with EmbeddedDatabase(copied(embedded_template, tmp_path_factory.mktemp("web"))) as database:
        yield database


@pytest.fixture(scope="module")
def fleet(database: EmbeddedDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of the database, with a simulated fleet of a day, registered in part."""
    log = tmp_path_factory.mktemp("web-log") / "log"
    with serving(database.url, 1, log) as url:
        arguments = ["--vehicles", str(VEHICLES), "--meters", str(METERS), "--since", "26h"]
        simulate = [sys.executable, "-m", "fleetwatt", "simulate", "--url", url, *arguments]
        subprocess.run(simulate, check=True, capture_output=True)
        put(f"{url}/v1/sites/S-1", {"name": "Depot North", "timeZone": "Asia/Kolkata"})
        put(f"{url}/v1/sites/S-2", {"name": HOSTILE_SITE})
        put(f"{url}/v1/devices/vehicles/V-00001", {"name": "Van 1", "site": "S-1"})
        put(f"{url}/v1/devices/vehicles/V-00002", {"name": HOSTILE_NAME, "site": "S-2"})
    with closing(psycopg2.connect(database.url)) as connection:
        connection.autocommit = True
        refresh(connection)
    return database.url


@pytest.fixture(scope="module")
def service(fleet: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the fleet, without keys."""
    with serving(fleet, 1, tmp_path_factory.mktemp("open") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def guarded(fleet: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the fleet that requires keys."""
    log = tmp_path_factory.mktemp("guarded") / "log"
    with serving(fleet, 1, log, FLEETWATT_AUTH="required") as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with take.launched() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A context with an empty profile; the parameter is the page's width and colours."""
    width, scheme = getattr(request, "param", (1280, "light"))
    height = 800 if width > 800 else 844
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id="Europe/Berlin",
    )
    context.add_init_script(WATCH)
    with contextlib.closing(context):
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Opened:
    opened = Opened(context.new_page())

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            opened.errors.append(message.text)

    opened.page.on("request", lambda request: opened.asked.append(request.url))
    opened.page.on("console", heard)
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    return opened


def key(database_url: str, *scopes: str) -> str:
    """Make a key of the scopes in a database, and return what its owner gets."""
    prefix, whole, hashed = keys.generate()
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO api_keys (prefix, hash, name, scopes) VALUES (%s, %s, '', %s)",
                (prefix, hashed, list(scopes)),
            )
    return whole


def put(url: str, body: dict[str, Any]) -> None:
    """Put an object to a route."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, msgspec.json.encode(body), headers, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


def answer(url: str) -> Any:
    """Return what a route answers."""
    with urllib.request.urlopen(url, timeout=60) as response:
        return msgspec.json.decode(response.read())
