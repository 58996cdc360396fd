"""Serves the API on the embedded database, or on another: `fleetwatt dev`."""

from __future__ import annotations

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

from fleetwatt.embedded import children, node
from fleetwatt.embedded.database import EmbeddedDatabase, EmbeddedDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetwatt.config import Config
    from fleetwatt.embedded.children import Make

POLL = 0.2  # seconds between looks at the children, and at make
START_TIMEOUT = 60.0  # seconds for the API to answer
# Seconds for requests under way, for all processes but the database, and for that: a stop of
# the service takes no longer than 10.
GRACE, STOP_TIMEOUT, DATABASE_STOP_TIMEOUT = 3, 4.0, 4.0
MAX_RESTARTS = 5  # of the database, in RESTART_WINDOW seconds
RESTART_WINDOW = 60.0
# Statuses of a process that was asked to stop.
STOPPED = {-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT}


class Stopped(Exception):
    """Somebody asked the service to stop."""


def serve(config: Config, upgrade: Callable[[str], None], make: Make | None = None) -> int:
    """Serve until one of its processes is asked to stop or gunicorn ends, and leave none behind.

    Signals, a timer's that looks after make among them, raise `Stopped` in the main thread,
    the only one; the exit stack then ends its children, the database last.

    Args:
        config: The settings; with a database URL no database is started.
        upgrade: Brings the schema of a database, by its URL, up to date.
        make: The make to end with.

    Returns:
        The exit status: gunicorn's, or 0 when it was asked to stop.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stopped)
    if make:
        _watch(make)
    with suppress(Stopped), ExitStack() as running:
        if not config.database_url:
            node.install()
        config = replace(config, port=_free_port(config))
        environment = dict(os.environ) | {"FLEETWATT_PORT": str(config.port)}
        database = None
        url = config.database_url
        if not url:
            click.echo(f"Starting the embedded TimescaleDB in {config.data_dir}/ …")
            folder = Path(config.data_dir) / "embedded"
            database = EmbeddedDatabase(folder, stop_timeout=DATABASE_STOP_TIMEOUT)
            running.enter_context(database)
            url = database.url
            # One backend serves all: more processes and connections would only wait for it.
            environment |= {"FLEETWATT_WORKERS": "1", "FLEETWATT_POOL_SIZE": "2"}
        upgrade(url)
        environment["FLEETWATT_DATABASE_URL"] = url
        asked = os.environ.get("GUNICORN_CMD_ARGS", "")
        environment["GUNICORN_CMD_ARGS"] = f"--graceful-timeout {GRACE} {asked}"
        processes: list[subprocess.Popen[bytes]] = []
        running.callback(children.end, processes, STOP_TIMEOUT)
        api = _start("fleetwatt.serving", environment=environment)
        processes.append(api)
        _await_api(config, api)
        maintenance = _start("fleetwatt", "maintain", "--every", "5m", environment=environment)
        processes.append(maintenance)
        _say_urls(config, url if database else "")
        return _supervise(api, maintenance, database)
    click.echo("Stopped.")
    return 0


def _watch(make: Make) -> None:
    """Look every so often whether make is done, whatever this process is at."""
    signal.signal(signal.SIGALRM, lambda *_: _raise_stopped() if make.is_done() else None)
    signal.setitimer(signal.ITIMER_REAL, POLL, POLL)


def _raise_stopped(*_: object) -> None:
    # Once is enough: a second Ctrl-C must not interrupt the stopping.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
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
    return children.start([sys.executable, "-m", *module], environment)


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
        click.echo(f"  keys           no client of {config.host} needs one")
    click.echo("Ctrl-C stops it; the data stays.")


def _supervise(
    api: subprocess.Popen[bytes],
    maintenance: subprocess.Popen[bytes],
    database: EmbeddedDatabase | None,
) -> int:
    restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
    while (status := api.poll()) is None:
        if maintenance.poll() in STOPPED or (database and database.was_stopped):
            raise Stopped
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
