"""`.ci/audit`, what `make audit` runs: it reports no vulnerabilities only where it could ask.

The programs that it calls stand in here for services that no test can bring to be away.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NONE_FOUND = "No known vulnerabilities found"
NPM = {"auditReportVersion": 2, "vulnerabilities": {}}
ASKED = {"name": "flask", "version": "3.1.3", "vulns": []}
NOT_ASKED = {"name": "click", "skip_reason": "Dependency not found on PyPI"}
AFFECTED = {"name": "flask", "version": "0.1", "vulns": [{"id": "PYSEC-1"}]}


def audited(
    folder: Path, dependencies: list[dict[str, Any]], npm: dict[str, Any] = NPM, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """What the script says where pip-audit and npm report that."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "audit", folder / ".ci")
    programs = folder / "bin"
    programs.mkdir()
    report = json.dumps({"dependencies": dependencies})
    # As pip-audit has it: to the error stream, and whether or not it could ask.
    summary = "Found 1 known vulnerability" if status else NONE_FOUND
    for name, text in {
        "pip-audit": f"echo '{summary}' >&2\necho '{report}'\nexit {status}",
        "npm": f"echo '{json.dumps(npm)}'",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return subprocess.run(
        [folder / ".ci" / "audit", programs],
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_where_all_were_asked_about_and_none_is_known_it_says_so(tmp_path: Path) -> None:
    done = audited(tmp_path, [ASKED])

    assert done.returncode == 0
    assert NONE_FOUND in done.stderr
    assert "NOTE" not in done.stderr


@pytest.mark.parametrize("dependencies", [[], [NOT_ASKED], [ASKED, NOT_ASKED]])
def test_where_it_could_not_ask_it_says_that_and_not_that_none_is_known(
    tmp_path: Path, dependencies: list[dict[str, Any]]
) -> None:
    done = audited(tmp_path, dependencies)

    assert done.returncode == 0
    assert "NOTE: pip-audit could not ask" in done.stderr
    assert NONE_FOUND not in done.stdout + done.stderr


def test_where_npm_s_service_is_away_it_says_so(tmp_path: Path) -> None:
    done = audited(tmp_path, [ASKED], npm={"error": {"code": "ECONNREFUSED"}})

    assert done.returncode == 0
    assert "NOTE: npm audit could not ask its service" in done.stderr


def test_a_vulnerability_fails_and_is_shown(tmp_path: Path) -> None:
    done = audited(tmp_path, [AFFECTED], status=1)

    assert done.returncode == 1
    assert "PYSEC-1" in done.stdout
