"""The commands of README and docs/ do what the pages say."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish as paho_publish
from psycopg2.extensions import connection as Connection

from tests.cli.conftest import plan
from tests.conftest import copied, rows, serving
from tests.embedded.test_dev import MAKE_RUN, Dev
from tests.native.server import free_port
from tests.recipes import (
    ROOT,
    SERVICE,
    Step,
    assert_answered,
    assert_printed,
    console_commands,
    run,
    send,
    steps,
)
from tests.storage import put_back_after
from tests.waiting import eventually

DOCS = ROOT / "docs"
HOW_TO = DOCS / "how-to"
PAGES = (
    ROOT / "README.md",
    DOCS / "tutorial" / "first-hour.md",
    DOCS / "tutorial" / "wrong-reading.md",
)


# Of a block that needs a service with MQTT on its usual port.
WITH_MQTT = "run: with MQTT=1883"


def meter_reading(at: str, kwh: float, device: str = "M-123") -> dict[str, object]:
    return {"meterId": device, "kwhConsumedAc": kwh, "voltage": 230, "timestamp": at}


def an_hour_and_more(_: Path) -> list[dict[str, object]]:
    """A reading a minute from 10:00 on, for corrections."""
    start = datetime.fromisoformat("2024-02-09T10:00:00+00:00")
    return [
        meter_reading((start + timedelta(minutes=minute)).isoformat(), 1050 + minute / 100)
        for minute in range(120)
    ]


def files_to_import(folder: Path) -> list[dict[str, object]]:
    """The files that the page on imports names."""
    start = datetime.fromisoformat("2026-11-20T00:00:00+00:00")
    lines = [
        meter_reading(
            (start + timedelta(minutes=number // 10)).isoformat(), number / 10, f"M-{number % 10}"
        )
        for number in range(1000)
    ]
    lines[499]["voltage"] = -1
    (folder / "meters.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "old.csv").write_text(
        "meterId,timestamp,kwhConsumedAc,voltage\nM-1,2020-01-01T00:00:00Z,1,230\n"
    )
    page = (HOW_TO / "import.md").read_text()
    [german] = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    (folder / "zaehler.csv").write_text("\ufeff" + german)
    return []


def the_devices_of_a_mapping(_: Path) -> list[dict[str, object]]:
    at = "2024-02-09T10:00:00Z"
    vehicle = {"vehicleId": "V-999", "soc": 45, "kwhDeliveredDc": 850.2, "batteryTemp": 32.5}
    meters = [meter_reading(at, 1050.5, device) for device in ("M-123", "M-124")]
    return [*meters, vehicle | {"timestamp": at}]


def an_hour_of_minutes(_: Path) -> list[dict[str, object]]:
    start = datetime.fromisoformat("2026-11-20T00:00:00+00:00")
    return [
        meter_reading((start + timedelta(minutes=minute)).isoformat(), minute / 10, "M-1")
        for minute in range(60)
    ]


# What a how-to takes for granted: readings that are stored, and files that are there.
HOW_TOS: dict[str, Callable[[Path], list[dict[str, object]]]] = {
    "corrections": an_hour_and_more,
    "devices": lambda _: [],
    "export": an_hour_of_minutes,
    "import": files_to_import,
    "jobs": lambda _: [],
    "mappings": the_devices_of_a_mapping,
}


@pytest.fixture(scope="module", autouse=True)
def default_policies(database_url: str) -> Iterator[None]:
    """For the files that this process runs next."""
    with put_back_after(database_url):
        yield


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_request_of_a_page_has_the_answer_that_stands_below_it(
    page: Path, server_url: str
) -> None:
    found = [step for step in steps(page) if step.is_request and step.mark != WITH_MQTT]
    assert len(found) >= 3

    for step in found:
        assert_answered(step, server_url)


@pytest.mark.community
@pytest.mark.parametrize("name", HOW_TOS)
def test_every_command_of_a_how_to_does_what_the_page_says(
    name: str, server_url: str, database_url: str, sql: Connection, tmp_path: Path
) -> None:
    # Whatever another file has run before.
    plan(sql, timedelta(hours=-1))
    stored = HOW_TOS[name](tmp_path)
    if stored:
        body = json.dumps(stored)
        assert_answered(
            Step(
                f"curl -H 'Content-Type: application/json' {SERVICE}/v1/ingestion -d '{body}'",
                "",
                "",
            ),
            server_url,
        )

    for step in steps(HOW_TO / f"{name}.md"):
        if step.mark.startswith("needs:"):
            continue
        if step.is_request:
            assert_answered(step, server_url)
        else:
            assert_printed(step, tmp_path, FLEETWATT_DATABASE_URL=database_url)


@pytest.mark.community
@pytest.mark.parametrize("name", ["retention", "compression"])
def test_every_command_of_a_console_runs(name: str, database_url: str, tmp_path: Path) -> None:
    found = list(console_commands(HOW_TO / f"{name}.md"))
    assert len(found) >= 3

    for command, printed in found:
        done = run(command, tmp_path, FLEETWATT_DATABASE_URL=database_url)
        assert bool(done.returncode) == printed.startswith("fleetwatt: "), done.stderr


@pytest.mark.community
def test_the_audit_of_the_page_on_energy_runs(database_url: str, tmp_path: Path) -> None:
    [audit] = steps(DOCS / "explanation" / "energy.md")

    assert_printed(audit, tmp_path, FLEETWATT_DATABASE_URL=database_url)


def test_every_command_of_the_docs_is_run_or_says_what_it_needs() -> None:
    run_above = {*PAGES, *(HOW_TO / f"{name}.md" for name in HOW_TOS)}
    run_above |= {DOCS / "tutorial" / "fleet.md", DOCS / "explanation" / "energy.md"}
    left_out = [
        f"{page.stem}: {step.command}"
        for page in sorted({*DOCS.rglob("*.md"), ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"})
        if page not in run_above
        for step in steps(page)
        if not step.mark.startswith("needs:")
    ]

    assert left_out == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_from_a_clone_to_the_fleet_on_a_page(embedded_template: Path, tmp_path: Path) -> None:
    """docs/tutorial/fleet.md, in a checkout that is set up."""
    port = free_port()
    page = list(steps(DOCS / "tutorial" / "fleet.md"))
    assert page[0].command == "make run"
    copied(embedded_template, tmp_path / "embedded")
    service = Dev(tmp_path, port, MAKE_RUN)
    try:
        for step in page[1:]:
            if step.mark:
                assert step.mark == "run: until Ctrl-C"
            elif step.is_request:
                assert_answered(step, service.url)
            else:
                own = Step(step.command.replace(".venv/bin/", ""), step.answer, "")
                assert_printed(own, tmp_path, FLEETWATT_PORT=str(port))
    finally:
        service.stop()


def published(command: str, port: int) -> None:
    """Publish what a mosquitto_pub command says, and return when it is acknowledged."""
    program, *words = shlex.split(command)
    assert program == "mosquitto_pub"
    said = dict(zip(words[::2], words[1::2], strict=True))
    paho_publish.single(
        said["-t"], said["-m"], qos=int(said["-q"]), hostname="127.0.0.1", port=port
    )


def test_what_the_readme_publishes_by_mqtt_is_answered(
    embedded_template: Path, tmp_path: Path
) -> None:
    port, mqtt = free_port(), free_port()
    copied(embedded_template, tmp_path / "embedded")
    page = [step for step in steps(ROOT / "README.md") if step.mark == WITH_MQTT]
    assert [step.is_request for step in page] == [False, True]
    service = Dev(tmp_path, port, [*MAKE_RUN, "-o", ".venv/.mqtt", f"MQTT={mqtt}"])
    try:
        published(page[0].command, mqtt)
        eventually(
            lambda: send(page[1].command, service.url)[0] == 200, "the reading is not stored"
        )
        assert_answered(page[1], service.url)
    finally:
        service.stop()


def client_of_the_docs() -> dict[str, Any]:
    """The functions of the client that docs/how-to/device-client.md shows."""
    [source] = re.findall(
        r"```python\n(.*?)```", (HOW_TO / "device-client.md").read_text(), re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(source, "device-client.md", "exec"), names)
    return names


def backlog(count: int) -> list[dict[str, object]]:
    start = datetime.fromisoformat("2026-03-01T00:00:00+00:00")
    return [
        meter_reading((start + timedelta(seconds=number)).isoformat(), number / 100)
        for number in range(count)
    ]


def test_the_docs_client_delivers_a_backlog_once_the_service_is_there(
    database_url: str, sql: Connection, tmp_path: Path
) -> None:
    names = client_of_the_docs()
    port = free_port()
    rejected: list[Any] = []
    bad = meter_reading("2026-03-02T00:00:00Z", -1)
    sending = threading.Thread(
        target=lambda: rejected.extend(
            names["deliver"](f"http://127.0.0.1:{port}", [*backlog(10_500), bad], longest_pause=1)
        ),
        daemon=True,
    )
    sending.start()
    assert sending.is_alive()

    with serving(database_url, 1, tmp_path / "log", FLEETWATT_PORT=str(port)):
        sending.join(120)

    assert not sending.is_alive()
    assert rows(sql, "SELECT count(*) FROM meter_telemetry") == [(10_500,)]
    assert [(reading, error["field"]) for reading, error in rejected] == [(bad, "kwhConsumedAc")]


def test_the_docs_client_keeps_what_a_service_does_not_take_from_it(server_url: str) -> None:
    names = client_of_the_docs()

    with pytest.raises(names["ClientIsWrong"], match="404"):
        names["deliver"](f"{server_url}/elsewhere", backlog(1))
