"""`make fuzz`: runs `protocol.mjs` on FUZZ_INPUTS (1,000,000) inputs of FUZZ_SEED (1)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fleetwatt.embedded import node

SCRIPT = Path(__file__).with_suffix(".mjs")


def run(count: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Feed the embedded server's parser with as many inputs."""
    return subprocess.run(
        [node.find(), str(SCRIPT), str(count), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    done = run(int(os.environ.get("FUZZ_INPUTS", "1000000")), int(os.environ.get("FUZZ_SEED", "1")))
    sys.stdout.write(done.stdout)
    sys.exit(done.returncode)
