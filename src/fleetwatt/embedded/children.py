"""Processes that end with the one that started them: none is left behind, whichever is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, to which Ctrl-C in a terminal does not reach."""
    return subprocess.Popen(  # noqa: S603
        command,
        env=environment,
        start_new_session=True,
        preexec_fn=bound_to_parent(),  # noqa: PLW1509 - there is one thread
    )


def bound_to_parent() -> partial[None]:
    """Return what a child calls before its program: Linux sends it SIGTERM when this process dies.

    Even by kill -9. Other systems have no such thing.
    """
    return partial(_end_with, os.getpid())


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # It died before this was set.
            os._exit(1)


def end(children: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    """End children in order, all at once, and after so long by force, with all of their sessions.

    Nothing of them lives when this returns.
    """
    for child in children:
        child.terminate()
    deadline = time.monotonic() + seconds
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0, deadline - time.monotonic()))
        # Where a child was killed, its own children may be left.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


class Make:
    """The make that started this process, as long as it wants this process to go on.

    It passes SIGTERM on to what it runs. SIGINT it does not, since a terminal sends that to both:
    where make alone gets one it lets go of SIGINT and waits for this process, which therefore has
    to look.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def is_done(self) -> bool:
        """Whether it has died, or was interrupted."""
        return os.getppid() != self._pid or self._lets_sigint_through()

    def _lets_sigint_through(self) -> bool:
        try:
            status = Path(f"/proc/{self._pid}/status").read_text("ascii")
        except OSError:  # another system's, or it has just died
            return False
        # One that was started in the background ignores it from the beginning.
        heeded = [status.partition(f"{name}:")[2].split()[0] for name in ("SigCgt", "SigIgn")]
        return not any(int(mask, 16) >> (signal.SIGINT - 1) & 1 for mask in heeded)
