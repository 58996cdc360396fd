"""The package as it is installed: what is in its wheel, and that it serves without a checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.native.server import free_port
from tests.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
SOURCES = ("src", "db", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
NOT_SOURCE = shutil.ignore_patterns("node_modules", "__pycache__", "*.egg-info")


def files(folder: Path) -> set[str]:
    """The files below a folder that are the project's own."""
    foreign = {"node_modules", "__pycache__", "fleetwatt.egg-info"}
    return {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and not foreign & set(file.parts)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy: a build leaves files where it is done.
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "source" / name, ignore=NOT_SOURCE)
        else:
            shutil.copy(ROOT / name, folder / "source" / name)
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source"))
    (built,) = folder.glob("fleetwatt-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, beside what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip("--python", str(folder / "bin" / "python"), "install", "--no-index", str(wheel))
    return folder / "bin"


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(
        [*command, "--no-deps"], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def environment(database_url: str, port: int) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return own | {
        "FLEETWATT_DATABASE_URL": database_url,
        "FLEETWATT_PORT": str(port),
        "FLEETWATT_WORKERS": "1",
        "FLEETWATT_POOL_SIZE": "2",
    }


@contextmanager
def serving(installed: Path, folder: Path, database_url: str) -> Iterator[tuple[str, int]]:
    """Run `fleetwatt serve` in a folder, and give its address and its process."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        master = subprocess.Popen(
            [installed / "fleetwatt", "serve"],
            cwd=folder,
            env=environment(database_url, port),
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: is_served(url) or master.poll() is not None, "it does not serve")
        assert master.poll() is None, (folder / "log").read_text()
        yield url, master.pid
    finally:
        master.terminate()
        master.wait(PATIENCE)


def is_served(url: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{url}/readyz", timeout=30).close()
        return True
    return False


def test_setup_cfg_names_every_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = set(setup["options"]["packages"].split())
    there = {
        Path(file).parent.as_posix().replace("/", ".")
        for file in files(ROOT / "src")
        if file.endswith(".py")
    }

    assert named == there | {"fleetwatt_db"}


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert packed == files(ROOT / "src") | {f"fleetwatt_db/{file}" for file in files(ROOT / "db")}


def test_it_serves_in_a_folder_without_a_checkout(
    installed: Path, tmp_path: Path, database_url: str
) -> None:
    with serving(installed, tmp_path, database_url) as (url, _):
        for path in ("/readyz", "/metrics", "/openapi.json", "/docs/", "/v1/status/meters"):
            with urllib.request.urlopen(url + path, timeout=PATIENCE) as answer:
                assert answer.status == 200
                assert answer.headers["Server"] == "fleetwatt"


def test_what_is_served_there_is_the_wheel_s(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "python", "-c", "import fleetwatt; print(fleetwatt.__file__)"],
        cwd=tmp_path,
        env=environment("", 0),
        capture_output=True,
        text=True,
        check=True,
    )

    assert installed.parent in Path(done.stdout.strip()).parents


def test_a_new_master_of_it_takes_over(installed: Path, tmp_path: Path, database_url: str) -> None:
    with serving(installed, tmp_path, database_url) as (url, master):
        old = psutil.Process(master)
        before = set(old.children())
        old.send_signal(signal.SIGUSR2)
        eventually(lambda: len(set(old.children()) - before) == 1, "no new master")
        (new,) = set(old.children()) - before
        eventually(lambda: len(new.children()) == 1, "the new master has no worker")
        try:
            old.terminate()
            psutil.wait_procs([old], timeout=PATIENCE)

            assert is_served(url)
        finally:
            new.terminate()
            psutil.wait_procs([new], timeout=PATIENCE)


def test_it_runs_the_embedded_database_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    (embedded,) = installed.parent.glob("lib/python*/site-packages/fleetwatt/embedded")
    # As if npm had installed it there.
    shutil.copytree(ROOT / "src/fleetwatt/embedded/node_modules", embedded / "node_modules")
    (embedded / "node_modules" / ".package-lock.json").touch()
    with subprocess.Popen(
        [installed / "fleetwatt", "dev"],
        cwd=tmp_path,
        env=environment("", 0),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout
        said = []
        for line in running.stdout:
            said.append(line)
            if line.startswith("fleetwatt serves "):
                break
        assert said[-1].startswith("fleetwatt serves "), "".join(said)
        assert is_served(said[-1].split()[-1])
        running.terminate()
        running.stdout.read()

        assert running.wait(PATIENCE) == 0
    assert (tmp_path / ".fleetwatt" / "embedded").is_dir()
