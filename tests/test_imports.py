"""What importing a package loads; import-linter's contracts say which may know which."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "package",
    [
        "fleetwatt",
        "fleetwatt.streams",
        "fleetwatt.simulation",
        "fleetwatt.simulation.fleet",
        "fleetwatt.simulation.sending",
        "fleetwatt.simulation.client",
    ],
)
def test_importing_the_streams_or_the_simulation_loads_no_server(package: str) -> None:
    program = (
        f"import sys, {package}\n"
        "print(*sorted({'flask', 'marshmallow', 'psycopg2'} & sys.modules.keys()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []
