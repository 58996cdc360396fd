"""What make says while it sets up, which takes minutes where packages come slowly."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def recipe(target: str) -> list[str]:
    """The commands by which make would make a target from nothing."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_setting_up_says_what_it_is_at_before_each_command_that_takes_long() -> None:
    commands = recipe(".venv/.ready")
    slow = [
        number
        for number, command in enumerate(commands)
        if re.search(r"-m venv|fleetwatt.embedded.node", command) or "--editable" in command
    ]

    assert len(slow) == 3
    assert all(commands[number - 1].startswith("echo ") for number in slow)


def test_pip_shows_what_it_does() -> None:
    installs = [command for command in recipe("audit") if "pip install" in command]

    assert len(installs) == 3
    assert not any(re.search(r" (-q|--quiet)\b", command) for command in installs)
