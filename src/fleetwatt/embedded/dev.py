"""Serves the API on the embedded database, or on another: `fleetwatt dev`."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import click

from fleetwatt.embedded.database import EmbeddedDatabase, EmbeddedDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetwatt.config import Config

ROOT = Path(__file__).parents[3]  # of the checkout, where wsgi.py and gunicorn.conf.py are
POLL = 0.2  # seconds between looks at the children
START_TIMEOUT = 60.0  # seconds for the API to answer
STOP_TIMEOUT = 40.0  # seconds for a child to finish what it is at
MAX_RESTARTS = 5  # of the database, in RESTART_WINDOW seconds
RESTART_WINDOW = 60.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Stopped(Exception):
    """Somebody asked the service to stop."""


def check_checkout() -> None:
    """Refuse to begin where the package lies alone, without gunicorn's files."""
    if not (ROOT / "wsgi.py").is_file():
        raise click.ClickException(
            f"{ROOT / 'wsgi.py'} is not there: `fleetwatt dev` is for a checkout of fleetwatt. "
            "Elsewhere set FLEETWATT_DATABASE_URL and run `gunicorn wsgi:app` where wsgi.py is"
        )


def serve(config: Config, upgrade: Callable[[str], None]) -> int:
    """Serve until Ctrl-C, SIGTERM or the end of gunicorn, and leave no process behind.

    Signals raise `Stopped` in the main thread, the only one; the exit stack then ends
    its children in the opposite order of their start, the database last.

    Args:
        config: The settings; with a database URL no database is started.
        upgrade: Brings the schema of a database, by its URL, up to date.

    Returns:
        The exit status: gunicorn's, or 0 when it was asked to stop.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stopped)
    with suppress(Stopped), ExitStack() as running:
        config = replace(config, port=_free_port(config))
        environment = dict(os.environ) | {"FLEETWATT_PORT": str(config.port)}
        database = None
        url = config.database_url
        if not url:
            click.echo(f"Starting the embedded TimescaleDB in {config.data_dir}/ …")
            database = running.enter_context(EmbeddedDatabase(Path(config.data_dir) / "embedded"))
            url = database.url
            # One backend serves all: more processes and connections would only wait for it.
            environment |= {"FLEETWATT_WORKERS": "1", "FLEETWATT_POOL_SIZE": "2"}
        upgrade(url)
        environment["FLEETWATT_DATABASE_URL"] = url
        api = _start("gunicorn", "wsgi:app", environment=environment)
        running.callback(_stop, api)
        _await_api(config, api)
        # Ends by itself where TimescaleDB's scheduler does the work.
        maintenance = _start("fleetwatt", "maintain", "--every", "5m", environment=environment)
        running.callback(_stop, maintenance)
        _say_urls(config, url if database else "")
        return _supervise(api, database)
    click.echo("Stopped.")
    return 0


def _raise_stopped(*_: object) -> None:
    # Once is enough: a second Ctrl-C must not interrupt the stopping.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _free_port(config: Config) -> int:
    """Return the port to listen on, a free one for 0; say so where it is taken."""
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
            return int(probe.getsockname()[1])
        except OSError as error:
            raise click.ClickException(
                f"can't listen on {config.netloc} ({error.strerror}): choose another port, "
                "as in `make run PORT=8001`"
            ) from None


def _start(*module: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - there is one thread
    )


def _end_with_parent() -> None:
    """Let Linux send SIGTERM when the supervisor dies, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _await_api(config: Config, api: subprocess.Popen[bytes]) -> None:
    # A proxy of the environment has no way to this machine's loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_TIMEOUT
    while api.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, ConnectionError, TimeoutError):
            direct.open(f"{_address(config)}/healthz", timeout=1).close()
            return
        time.sleep(POLL)
    raise click.ClickException("the API did not start; its log above says why")


def _address(config: Config) -> str:
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    host = loopback.get(config.host, config.host)
    return f"http://{replace(config, host=host).netloc}"


def _say_urls(config: Config, database_url: str) -> None:
    address = _address(config)
    click.echo(f"fleetwatt serves {address}")
    click.echo(f"  documentation  {address}/docs/")
    click.echo(f"  OpenAPI        {address}/openapi.json")
    if database_url:
        click.echo(f"  database       {database_url}")
    if config.auth == "off":
        click.echo(f"  keys           none are needed by whoever reaches {config.host}")
    click.echo("Ctrl-C stops it; the data stays.")


def _supervise(api: subprocess.Popen[bytes], database: EmbeddedDatabase | None) -> int:
    restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
    while (status := api.poll()) is None:
        if database and not database.is_running:
            now = time.monotonic()
            if len(restarts) == MAX_RESTARTS and now - restarts[0] < RESTART_WINDOW:
                raise click.ClickException(f"the database keeps dying; see {database.log}")
            restarts.append(now)
            click.echo("The embedded database died; starting it again …", err=True)
            try:
                database.start()
            except EmbeddedDatabaseError as error:
                click.echo(str(error), err=True)
        time.sleep(POLL)
    return status


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
