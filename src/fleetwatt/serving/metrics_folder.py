"""The folder in which the workers of a master count together.

prometheus_client looks for its name in the environment once, when it is imported: `claim` comes
before that.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "fleetwatt-metrics-"


def claim() -> None:
    """Make a folder for this process, and remove those whose master was killed.

    A process that has one keeps it. A master that another started by SIGUSR2 inherits the other's
    name for it, and makes one of its own.
    """
    own = f"{PREFIX}{os.getpid()}-"
    if Path(os.environ.get(VARIABLE, "")).name.startswith(own):
        return
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}[0-9]*-*"):
        master = left.name.removeprefix(PREFIX).split("-")[0]
        if not Path("/proc", master).exists():
            shutil.rmtree(left, ignore_errors=True)
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix=own)


def remove() -> None:
    """Leave no folder behind."""
    shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)
