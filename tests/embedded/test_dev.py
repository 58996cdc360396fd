"""`fleetwatt dev` as a process: what it serves, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import psycopg2
import pytest
from paho.mqtt import publish as paho_publish

from tests.conftest import copied, rows
from tests.examples import Reading, meter
from tests.native.server import free_port
from tests.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
WAITING = """
    SELECT count(*) FROM timescaledb_information.jobs WHERE scheduled AND next_start IS NULL
"""


def lives(process: psutil.Process) -> bool:
    # A container's first process may leave orphans as zombies.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


DEV = [str(PROGRAMS / "fleetwatt"), "dev"]
# As in a checkout that is set up.
MAKE_RUN = [
    "make",
    "--no-print-directory",
    "-C",
    str(ROOT),
    "-o",
    ".venv/.ready",
    "run",
    f"BIN={PROGRAMS}",
]


class Dev:
    """A running `fleetwatt dev`, or the `make run` that started it."""

    def __init__(
        self, folder: Path, port: int, command: Sequence[str] = DEV, **environment: str
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            command,
            env=os.environ
            | {
                "PORT": str(port),
                "FLEETWATT_PORT": str(port),
                "FLEETWATT_DATA_DIR": str(folder),
                "FLEETWATT_DATABASE_URL": "",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self._output = self.process.stdout
        self.lines = []
        for line in self._output:
            self.lines.append(line)
            if "Ctrl-C" in line:
                break
        self.look()
        # In a pipe that nobody reads there is room for some hundred requests.
        self._rest = Thread(target=deque, args=(self._output, 0), daemon=True)
        self._rest.start()

    def look(self) -> None:
        """Find its processes."""
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def is_ready(self) -> bool:
        try:
            return bool(self.call("/readyz")["status"] == "ok")
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def call(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def child(self, named: str) -> psutil.Process:
        """The process with this in its command."""
        return next(child for child in self.children if named in " ".join(child.cmdline()))

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Return its exit status, once nobody holds its output any more."""
        self._rest.join(PATIENCE)
        assert not self._rest.is_alive()
        self._output.close()
        return self.process.wait(PATIENCE)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def dev(embedded_template: Path, tmp_path: Path, port: int) -> Iterator[Dev]:
    copied(embedded_template, tmp_path / "embedded")
    running = Dev(tmp_path, port)
    assert "Ctrl-C" in running.lines[-1], "".join(running.lines)
    yield running
    running.stop()


def test_its_first_start_serves_and_leaves_no_process_behind(tmp_path: Path, port: int) -> None:
    dev = Dev(tmp_path, port)
    try:
        assert dev.is_ready()
        assert any(f"{dev.url}/docs/" in line for line in dev.lines)
    finally:
        status = dev.stop()

    assert status == 0
    assert dev.children
    assert not any(lives(child) for child in dev.children)


def test_its_data_is_kept_between_runs(dev: Dev, tmp_path: Path, port: int) -> None:
    assert dev.call("/v1/ingestion/meter", meter())["accepted"] == 1
    dev.stop()

    again = Dev(tmp_path, port)
    try:
        assert again.call("/v1/status/meters/M-123")["kwhConsumedAc"] == 1050.5
    finally:
        again.stop()


def test_a_database_that_dies_is_started_again(dev: Dev) -> None:
    database = dev.child("server.mjs")
    database.kill()

    eventually(lambda: not lives(database), "the database lives on")
    eventually(dev.is_ready, "it is not ready again")
    assert dev.stop() == 0


def test_jobs_that_are_due_run_by_themselves(dev: Dev) -> None:
    url = next(line.split()[-1] for line in dev.lines if "postgresql://" in line)

    def all_have_run() -> bool:
        with closing(psycopg2.connect(url)) as connection:
            return rows(connection, WAITING) == [(0,)]

    eventually(all_have_run, "jobs have not run")


@pytest.fixture(scope="module")
def folder(embedded_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of services that are stopped in one way or another, one after the other."""
    folder = tmp_path_factory.mktemp("data")
    copied(embedded_template, folder / "embedded")
    return folder


@pytest.mark.parametrize(
    ("named", "number"),
    [
        ("make", signal.SIGTERM),
        # Which a terminal sends to all of them, and others to make alone.
        ("make", signal.SIGINT),
        ("make", signal.SIGKILL),
        ("fleetwatt dev", signal.SIGKILL),
        ("fleetwatt.serving", signal.SIGTERM),
        ("fleetwatt maintain", signal.SIGTERM),
        ("server.mjs", signal.SIGTERM),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_make_run_leaves_no_process_behind_whichever_of_them_gets_the_signal(
    folder: Path, port: int, named: str, number: signal.Signals
) -> None:
    running = Dev(folder, port, MAKE_RUN)
    target = running.process.pid if named == "make" else running.child(named).pid
    os.kill(target, number)

    running.wait()
    assert len(running.children) >= 4  # the supervisor, Node, gunicorn and its worker
    eventually(lambda: not any(lives(child) for child in running.children), "children live on")


@pytest.mark.parametrize(
    ("named", "number"),
    [
        ("make", signal.SIGTERM),
        ("make", signal.SIGKILL),
        ("fleetwatt dev", signal.SIGKILL),
        ("nats-server", signal.SIGTERM),
        ("fleetwatt consume", signal.SIGTERM),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_with_mqtt_it_leaves_no_process_behind_either(
    folder: Path, port: int, named: str, number: signal.Signals
) -> None:
    running = Dev(folder, port, [*MAKE_RUN, "-o", ".venv/.mqtt", "MQTT=0"])
    target = running.process.pid if named == "make" else running.child(named).pid
    os.kill(target, number)

    running.wait()
    assert len(running.children) >= 6  # NATS and the consumer, too
    eventually(lambda: not any(lives(child) for child in running.children), "children live on")


def test_what_is_published_once_it_is_ready_is_stored_whatever_dies_meanwhile(
    folder: Path, port: int
) -> None:
    mqtt = free_port()
    running = Dev(folder, port, [*DEV, "--mqtt", str(mqtt)])
    try:
        assert running.is_ready()
        for number, victim in enumerate(("fleetwatt consume", "nats-server")):
            publish(mqtt, meter(meterId=f"M-{number}"))
            running.child(victim).kill()
            eventually(running.is_ready, "it is not ready again")
            running.look()
        publish(mqtt, meter(meterId="M-2"))
        eventually(
            lambda: len(running.call("/v1/status/meters")["items"]) >= 3, "not all are there"
        )
        eventually(lambda: counted(running) >= 3, "the messages are not counted")
    finally:
        running.stop()


def test_mqtt_is_not_opened_beside_keys_that_it_does_not_know(tmp_path: Path, port: int) -> None:
    refused = Dev(tmp_path, port, [*DEV, "--mqtt", "0"], FLEETWATT_AUTH="required")

    assert refused.wait() == 1
    assert "--mqtt knows no API keys" in "".join(refused.lines)


def publish(port: int, reading: Reading) -> None:
    paho_publish.single(
        f"fleetwatt/v1/meter/{reading['meterId']}",
        json.dumps(reading),
        qos=1,
        hostname="127.0.0.1",
        port=port,
    )


def counted(running: Dev) -> float:
    """How many messages of MQTT the service shows as stored."""
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(
        r'fleetwatt_messages_total\{origin="\$MQTT_msgs",outcome="stored"\} (\S+)', text
    )
    return float(found[1]) if found else 0


def test_make_that_is_interrupted_while_the_service_starts_ends_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        MAKE_RUN,
        env=os.environ | {"PORT": "0", "FLEETWATT_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as make:
        assert make.stdout
        assert make.stdout.readline().startswith("Starting the embedded TimescaleDB")
        started = psutil.Process(make.pid).children(recursive=True)
        make.send_signal(signal.SIGINT)
        make.stdout.read()

    assert started
    eventually(lambda: not any(lives(child) for child in started), "children live on")


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = Dev(tmp_path, taken.getsockname()[1])
        status = refused.wait()

    assert status == 1
    assert "choose another port" in "".join(refused.lines)


def test_without_a_port_it_takes_a_free_one_and_a_proxy_is_not_in_its_way(
    embedded_template: Path, tmp_path: Path
) -> None:
    copied(embedded_template, tmp_path / "embedded")
    running = Dev(tmp_path, 0, http_proxy="http://127.0.0.1:9", no_proxy="")
    try:
        (line,) = (line for line in running.lines if line.startswith("fleetwatt serves "))
        running.url = line.split()[-1]
        assert running.is_ready()
    finally:
        running.stop()
