"""npm's packages that the page's files come from, and axe: as their lock file pins them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from fleetwatt.embedded import node

LOCK = Path(__file__).parent / "npm"


def install(folder: Path) -> Path:
    """Install the packages into a folder, and return the one that holds them.

    npm rejects a package whose integrity is not the lock file's.
    """
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(LOCK / name, folder / name)
    command = [*node.npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run([*command, "--prefix", str(folder)], check=True)
    return folder / "node_modules"
