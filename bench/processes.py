"""CPU time and memory of the servers that are measured."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from fleetwatt.config import Config


@contextlib.contextmanager
def running(
    command: Sequence[str], url: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run a server until the end of the block, which starts when it answers at the URL."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} does not answer:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def api(
    url: str, log: Path, environment: Mapping[str, str]
) -> contextlib.AbstractContextManager[psutil.Process]:
    """Run the API as in production."""
    port = {"FLEETWATT_PORT": url.rpartition(":")[2], "FLEETWATT_LOG_LEVEL": "WARNING"}
    return running([sys.executable, "-m", "fleetwatt", "serve"], url, log, {**environment, **port})


def empty_route(url: str, log: Path) -> contextlib.AbstractContextManager[psutil.Process]:
    """Run `empty.py` with gunicorn's own worker, as many processes and threads."""
    config = Config.from_environment()
    command = [sys.executable, "-m", "gunicorn", "bench.empty:app"]
    command += ["--config", os.devnull, "--reuse-port", "--keep-alive", "75"]
    command += ["--workers", str(config.workers or os.cpu_count()), "--worker-class", "gthread"]
    command += ["--threads", str(config.threads), "--bind", url.removeprefix("http://")]
    return running([*command, "--no-control-socket"], url, log)


def free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def cpu_seconds(parent: psutil.Process) -> float:
    """CPU time of a process and its children, the ended ones included."""
    own = parent.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return float(total)


def wait_until_idle(parent: psutil.Process) -> None:
    """Return when a process and its children have used no CPU time for half a second."""
    used, before = cpu_seconds(parent), -1.0
    while used > before:
        time.sleep(0.5)
        used, before = cpu_seconds(parent), used


def memory(parent: psutil.Process) -> int:
    """Bytes of memory of a process and its children, what they share counted once (PSS)."""
    return sum(process.memory_full_info().pss for process in (parent, *parent.children()))


def peak(process: psutil.Process) -> int:
    """The most memory in bytes that one process has held since `forget_peak`."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak(process: psutil.Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True
