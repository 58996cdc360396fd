"""A release says its version in one way everywhere, and its image is made of what locks pin."""

from __future__ import annotations

import re
from pathlib import Path

from fleetwatt.version import VERSION

ROOT = Path(__file__).parents[2]


def test_the_newest_release_of_the_changelog_is_dated_and_this_one() -> None:
    releases = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert releases[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ – \d{4}-\d\d-\d\d", name) for name in releases[1:])
    assert releases[1].startswith(f"{VERSION} ")


def test_compose_builds_the_image_of_this_release() -> None:
    assert f"image: fleetwatt:{VERSION}\n" in (ROOT / "docker-compose.yml").read_text()


def test_an_image_is_made_of_what_locks_pin() -> None:
    steps = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    commands = [
        command
        for step in steps
        if step.startswith("RUN ")
        for command in step.split("&&")
        if " pip " in command.replace("/pip ", " pip ")
    ]

    assert len(commands) == 4
    for command in commands:
        assert "--require-hashes" in command or "--no-index" in command, command
