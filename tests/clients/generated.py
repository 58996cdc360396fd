"""Clients that are generated from openapi.json: linted, type-checked strictly, run on the service.

`make test-clients` installs what these tests need, and runs them; `make test` leaves them out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.embedded import node
from fleetwatt.version import VERSION

HERE = Path(__file__).parent
NODE = HERE / "node_modules" / ".bin"
PYTHON = Path(".venv/clients/bin").absolute()
# Spectral knows scopes of OAuth alone; OpenAPI 3.1 lets an HTTP scheme name them, too.
FALSE_ALARMS = {"oas3-operation-security-defined"}
# The generator's own client passes on what it was given as tuple[object, ...].
MYPY = """
[mypy]
strict = true
[mypy-fleetwatt_client.client]
disable_error_code = arg-type
"""


def run(command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": f"{PYTHON}:{Path(node.find()).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("openapi") / "openapi.json"
    answer = create_app(Config()).test_client().get("/openapi.json")
    file.write_bytes(answer.data)
    return file


def test_redocly_s_recommended_rules_find_nothing(document: Path) -> None:
    said = run([NODE / "redocly", "lint", document, "--format", "json"], document.parent)

    found: dict[str, Any] = json.loads(said.stdout)
    assert found["problems"] == []
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}


def test_spectral_s_recommended_rules_find_false_alarms_alone(document: Path) -> None:
    rules = document.with_name("rules.yaml")
    rules.write_text("extends: ['spectral:oas']\n")
    command: list[str | Path] = [
        NODE / "spectral",
        "lint",
        document,
        "--ruleset",
        rules,
        "--format",
        "json",
    ]

    found = json.loads(run([*command, "--quiet"], document.parent).stdout)

    assert {alarm["code"] for alarm in found} == FALSE_ALARMS


def test_a_python_client_is_typed_and_works(
    document: Path, server_url: str, tmp_path: Path
) -> None:
    generator = PYTHON / "openapi-python-client"
    written = ("--output-path", "fleetwatt_client", "--meta", "none")
    said = run([generator, "generate", "--path", document, *written], tmp_path).stderr
    # It knows no NDJSON, and sends JSON instead.
    warned = [line for line in said.splitlines() if line.startswith("Unsupported")]
    assert set(warned) == {"Unsupported content type application/x-ndjson"}
    assert said.count("WARNING") == len(warned)
    shutil.copy(HERE / "use_python.py", tmp_path)
    (tmp_path / "mypy.ini").write_text(MYPY)

    run([PYTHON / "mypy", "-p", "fleetwatt_client", "-m", "use_python"], tmp_path)

    check(run([PYTHON / "python", "use_python.py", server_url], tmp_path))


def test_a_typescript_client_is_typed_and_works(
    document: Path, server_url: str, tmp_path: Path
) -> None:
    shutil.copy(HERE / "use_typescript.ts", tmp_path)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run([NODE / "openapi-typescript", document, "--output", "fleetwatt.d.ts"], tmp_path)

    options = (
        "--strict --noUncheckedIndexedAccess --exactOptionalPropertyTypes --skipLibCheck false"
    )
    target = "--target es2022 --module nodenext --moduleResolution nodenext --types node"
    run([NODE / "tsc", *options.split(), *target.split(), "use_typescript.ts"], tmp_path)

    check(run(["node", "use_typescript.js", server_url], tmp_path))


def check(done: subprocess.CompletedProcess[str]) -> None:
    """Compare what a client has printed with what it has sent."""
    assert json.loads(done.stdout) == {
        "accepted": 4,
        "mappingWarnings": [],
        "kwhConsumedAc": 2,
        "kwhDeliveredDc": 1.8,
        "warnings": [],
        "statusTimestamp": "2024-02-09T10:01:00Z",
        "buckets": 1,
        "orders": ["V-1"],
        "problem": "urn:fleetwatt:problem:not-known",
        "version": VERSION,
    }
