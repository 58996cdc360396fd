"""The settings of gunicorn: one place, whichever command starts it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS

ROOT = Path(__file__).parents[2]
# What each command says of itself.
OF_THE_COMMAND = {"config", "default_proc_name", "proc_name", "wsgi_app", "print_config"}


def printed(*command: str) -> dict[str, str]:
    """The settings that gunicorn ends up with."""
    environment = {
        "FLEETWATT_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "FLEETWATT_THREADS": "7",
        "GUNICORN_CMD_ARGS": "--print-config",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition("=") for line in done.stdout.splitlines())
    found = {name.strip(): value.strip() for name, _, value in lines}
    return {
        # Hooks and classes are shown by their address.
        name: value.partition(" at 0x")[0]
        for name, value in found.items()
        if name not in OF_THE_COMMAND
    }


def test_gunicorn_reads_the_same_settings_in_the_checkout_as_fleetwatt_serve_does() -> None:
    served = printed("fleetwatt", "serve")

    assert served["threads"] == "7"
    assert served["worker_class"] == "fleetwatt.serving.worker.Worker"
    assert served == printed("gunicorn", "wsgi:app")


def test_gunicorn_conf_py_holds_settings_alone() -> None:
    docstring, *statements = ast.parse((ROOT / "gunicorn.conf.py").read_text()).body

    assert isinstance(docstring, ast.Expr)
    assert [ast.unparse(statement) for statement in statements] == [
        "from fleetwatt.serving.settings import *"
    ]


def test_what_the_settings_module_names_are_settings_of_gunicorn() -> None:
    source = ast.parse((ROOT / "src" / "fleetwatt" / "serving" / "settings.py").read_text())
    (names,) = (
        ast.literal_eval(statement.value)
        for statement in source.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    )

    assert set(names) <= {setting.name for setting in KNOWN_SETTINGS}


@pytest.mark.parametrize("command", [["fleetwatt", "serve"], ["gunicorn", "wsgi:app"]])
def test_without_a_database_it_says_which_setting_is_missing(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"FLEETWATT_DATABASE_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("fleetwatt: set FLEETWATT_DATABASE_URL")
    assert done.stderr.count("\n") == 1
