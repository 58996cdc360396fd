"""Serves the API on the embedded database, or on another: `fleetwatt dev`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import click

from fleetwatt.config import netloc
from fleetwatt.embedded import children, node
from fleetwatt.embedded.database import EmbeddedDatabase, EmbeddedDatabaseError
from fleetwatt.embedded.nats import Nats
from fleetwatt.serving import metrics_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetwatt.config import Config
    from fleetwatt.embedded.children import Make

POLL = 0.2  # seconds between looks at the children, and at make
START_TIMEOUT = 60.0  # seconds for the API to answer
# Seconds for requests under way, for all processes but the database, and for that: a stop of
# the service takes no longer than 10.
GRACE, STOP_TIMEOUT, DATABASE_STOP_TIMEOUT = 3, 4.0, 4.0
MAX_RESTARTS = 5  # of the database, in RESTART_WINDOW seconds
RESTART_WINDOW = 60.0
LOCAL = "127.0.0.1"
NATS = "NATS"  # as messages name it
# Statuses of a process that was asked to stop.
STOPPED = {0, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT}


class Stopped(Exception):
    """Somebody asked the service to stop."""


def serve(
    config: Config,
    upgrade: Callable[[str], None],
    make: Make | None = None,
    mqtt_port: int | None = None,
) -> int:
    """Serve until one of its processes is asked to stop or gunicorn ends, and leave none behind.

    Signals, a timer's that looks after make among them, raise `Stopped` in the main thread,
    the only one; the exit stack then ends its children, the database last.

    Args:
        config: The settings; with a database URL no database is started.
        upgrade: Brings the schema of a database, by its URL, up to date.
        make: The make to end with.
        mqtt_port: Where MQTT devices are served, by a NATS of its own; None: they aren't.

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
        config = replace(config, port=_free_port(config.host, config.port))
        mqtt = None if mqtt_port is None else _free_port(config.host, mqtt_port, "MQTT=1884")
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
        helpers: list[Helper] = []
        running.callback(_end, helpers)
        nats = None
        if mqtt is not None:
            folder = Path(config.data_dir) / "nats"
            nats = Nats(folder, netloc(config.host, mqtt), _free_port(LOCAL, 0))
        if nats:
            helpers.append(Helper(NATS, nats.start))
            environment |= nats.environment
        api = Helper("the API", lambda: _start("fleetwatt.serving", environment=environment))
        helpers.append(api)
        _await_api(config, api.process)
        if nats:
            helpers.append(Helper("the consumer", lambda: _consume(environment, api.process.pid)))
        maintenance = ("fleetwatt", "maintain", "--every", "5m")
        helpers.append(Helper("maintenance", lambda: _start(*maintenance, environment=environment)))
        if nats:
            _await_api(config, api.process, "/readyz")
        _say_urls(config, url if database else "", nats)
        return _supervise(api, [helper for helper in helpers if helper is not api], database)
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


def _free_port(host: str, port: int, other: str = "PORT=8001") -> int:
    """Return the port to listen on, a free one for 0; say so where it is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return int(probe.getsockname()[1])
        except OSError as error:
            raise click.ClickException(
                f"can't listen on {netloc(host, port)} ({error.strerror}): choose another port, "
                f"as in `make run {other}`"
            ) from None


def _start(*module: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return children.start([sys.executable, "-m", *module], environment)


def _end(helpers: Sequence[Helper]) -> None:
    """End all helpers, NATS last: the consumer acknowledges there what it has stored."""
    for is_nats in (False, True):
        processes = [helper.process for helper in helpers if (helper.name == NATS) is is_nats]
        children.end(processes, STOP_TIMEOUT)


def _consume(environment: Mapping[str, str], api: int) -> subprocess.Popen[bytes]:
    """Start the consumer; it counts beside the API's processes, which show its counts."""
    (folder,) = Path(tempfile.gettempdir()).glob(f"{metrics_folder.PREFIX}{api}-*")
    own = folder / "consumer"
    own.mkdir(exist_ok=True)
    environment = {**environment, metrics_folder.VARIABLE: str(own)}
    return _start("fleetwatt", "consume", environment=environment)


def _await_api(config: Config, api: subprocess.Popen[bytes], path: str = "/healthz") -> None:
    # A proxy of the environment has no way to this machine's loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_TIMEOUT
    while api.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, ConnectionError, TimeoutError):
            direct.open(_address(config) + path, timeout=1).close()
            return
        time.sleep(POLL)
    raise click.ClickException("the API did not start; its log above says why")


def _address(config: Config) -> str:
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    host = loopback.get(config.host, config.host)
    return f"http://{replace(config, host=host).netloc}"


def _say_urls(config: Config, database_url: str, nats: Nats | None) -> None:
    address = _address(config)
    click.echo(f"fleetwatt serves {address}")
    click.echo(f"  documentation  {address}/docs/")
    click.echo(f"  OpenAPI        {address}/openapi.json")
    if database_url:
        click.echo(f"  database       {database_url}")
    if nats:
        click.echo(f"  MQTT           mqtt://{nats.mqtt}")
        click.echo(f"  NATS           {nats.url}")
    if config.auth == "off":
        click.echo(f"  keys           no client of {config.host} needs one")
    click.echo("Ctrl-C stops it; the data stays.")


def _supervise(api: Helper, others: Sequence[Helper], database: EmbeddedDatabase | None) -> int:
    restarts = Restarts()
    while (status := api.process.poll()) is None:
        if any(other.was_stopped for other in others) or (database and database.was_stopped):
            raise Stopped
        for other in others:
            if other.process.poll() is not None:
                restarts.count(other.name)
                other.restart()
        if database and not database.is_running:
            restarts.count("the embedded database", f"; see {database.log}")
            try:
                database.start()
            except EmbeddedDatabaseError as error:
                click.echo(str(error), err=True)
        time.sleep(POLL)
    return status


class Restarts:
    """How often something died lately."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=MAX_RESTARTS)

    def count(self, name: str, hint: str = "") -> None:
        """Say that something died and is started again.

        Raises:
            ClickException: That was so too often.
        """
        now = time.monotonic()
        if len(self._last) == MAX_RESTARTS and now - self._last[0] < RESTART_WINDOW:
            raise click.ClickException(f"{name} keeps dying{hint}")
        self._last.append(now)
        click.echo(f"{name[0].upper()}{name[1:]} died; starting it again …", err=True)


class Helper:
    """A process beside the others, which is started again where it dies."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._start = start
        self.process = start()

    @property
    def was_stopped(self) -> bool:
        """Whether it ended because it was asked to."""
        return self.process.poll() in STOPPED

    def restart(self) -> None:
        """Start it again."""
        self.process = self._start()
