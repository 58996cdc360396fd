"""The folder in which the workers of a master count together.

prometheus_client looks for its name in the environment once, when it is imported: `claim` comes
before that.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "fleetwatt-metrics-"


def claim() -> None:
    """Make a folder for this process, and remove those whose master was killed.

    A process that has one keeps it. A master that another started by SIGUSR2 inherits the other's
    name for it, and makes one of its own.
    """
    own = f"{_PREFIX}{os.getpid()}-"
    if Path(os.environ.get(_VARIABLE, "")).name.startswith(own):
        return
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*"):
        master = left.name.removeprefix(_PREFIX).split("-")[0]
        if not Path("/proc", master).exists():
            shutil.rmtree(left, ignore_errors=True)
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix=own)


def remove() -> None:
    """Leave no folder behind."""
    shutil.rmtree(os.environ[_VARIABLE], ignore_errors=True)
