"""`fleetwatt dev` as a process: what it serves, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import psycopg2
import pytest

import fleetwatt
from tests.conftest import rows
from tests.examples import meter
from tests.native.server import free_port
from tests.waiting import PATIENCE, eventually

WAITING = """
    SELECT count(*) FROM timescaledb_information.jobs WHERE scheduled AND next_start IS NULL
"""


def lives(process: psutil.Process) -> bool:
    # A container's first process may leave orphans as zombies.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Dev:
    """A running `fleetwatt dev`."""

    def __init__(self, folder: Path, port: int, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("fleetwatt")), "dev"],
            env=os.environ
            | {
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
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        # In a pipe that nobody reads there is room for some hundred requests.
        self._rest = Thread(target=deque, args=(self._output, 0), daemon=True)
        self._rest.start()

    def is_ready(self) -> bool:
        try:
            return bool(self.call("/readyz") == {"status": "ok"})
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
def dev(tmp_path: Path, port: int) -> Iterator[Dev]:
    running = Dev(tmp_path, port)
    yield running
    running.stop()


def test_it_serves_and_leaves_no_process_behind(dev: Dev) -> None:
    assert dev.is_ready()
    assert any(f"{dev.url}/docs/" in line for line in dev.lines)

    assert dev.stop() == 0
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
    database = next(each for each in dev.children if "server.mjs" in " ".join(each.cmdline()))
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


def test_nothing_outlives_a_killed_supervisor(dev: Dev) -> None:
    dev.process.send_signal(signal.SIGKILL)
    dev.process.wait()

    eventually(lambda: not any(lives(child) for child in dev.children), "children live on")


def test_a_proxy_in_the_environment_is_not_in_its_way(tmp_path: Path, port: int) -> None:
    running = Dev(tmp_path, port, http_proxy="http://127.0.0.1:9", no_proxy="")
    try:
        assert running.is_ready()
    finally:
        running.stop()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = Dev(tmp_path, taken.getsockname()[1])
        status = refused.wait()

    assert status == 1
    assert "choose another port" in "".join(refused.lines)


def test_without_a_port_it_takes_a_free_one_and_says_which(tmp_path: Path) -> None:
    running = Dev(tmp_path, 0)
    try:
        (line,) = (line for line in running.lines if line.startswith("fleetwatt serves "))
        running.url = line.split()[-1]
        assert running.is_ready()
    finally:
        running.stop()


def test_without_its_checkout_it_says_what_is_missing(tmp_path: Path) -> None:
    package = Path(fleetwatt.__file__).parent
    shutil.copytree(
        package, tmp_path / "lib" / "fleetwatt", ignore=shutil.ignore_patterns("node_modules")
    )

    result = subprocess.run(
        [sys.executable, "-m", "fleetwatt", "dev"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "lib"), "FLEETWATT_DATABASE_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "wsgi.py is not there: `fleetwatt dev` is for a checkout" in result.stderr
    assert "Traceback" not in result.stderr
