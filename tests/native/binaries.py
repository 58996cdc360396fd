"""Where the tests' `postgres` with TimescaleDB comes from; `bindir()` takes the first of:

1. the folder in `FLEETWATT_NATIVE_BINDIR`: say, PostgreSQL with TimescaleDB Community built by hand
2. Debian's package (Apache edition), which root installs where Debian has it (13)
3. the package of Debian 13 unpacked below `.fleetwatt/native`: Debian 12 and later, root or not
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = "postgresql-17-timescaledb"
PROGRAMS = Path("usr/lib/postgresql/17/bin")
DONOR = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
WAY_OUT = "or name a server that has TimescaleDB in FLEETWATT_TEST_DATABASE_URL"

# LLVM would be more than all the rest together, and serves only the JIT compiler.
NEEDED = re.compile(r"lib(?!llvm|z3|perl|.*-perl$).*|postgresql-17.*|postgresql-client-17")

WRAPPER = """\
#!/bin/sh
here="${0%/*}"
root="$here/../../../../.."
exec "$root/LOADER" --argv0 "$0" --library-path "$root/LIBRARIES" "$here/../elf/${0##*/}" "$@"
"""


class NativeServerError(Exception):
    """The server, or the programs it needs, can't be had here."""


def bindir() -> Path:
    """The folder of `postgres` and `initdb`, made ready if need be.

    Raises:
        NativeServerError: If this machine has no way to make it ready; the message names one.
    """
    if chosen := os.environ.get("FLEETWATT_NATIVE_BINDIR"):
        return Path(chosen)
    if not shutil.which("apt-get"):
        raise NativeServerError(f"This isn't Debian: set FLEETWATT_NATIVE_BINDIR, {WAY_OUT}")
    unpacked = _cache() / DONOR / PROGRAMS
    if unpacked.exists():
        return unpacked
    with _alone():
        if not _is_installed() and os.geteuid() == 0 and _has_candidate():
            _install()
    return Path("/") / PROGRAMS if _is_installed() else _unpacked() / PROGRAMS


def clean() -> None:
    """Removes what was unpacked; a package that was installed stays."""
    shutil.rmtree(_cache(), ignore_errors=True)


def run(*command: str | Path, cwd: Path | str = "/") -> str:
    """Runs a command to its end and returns its standard output.

    Raises:
        NativeServerError: If it fails, with the end of all it wrote.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NativeServerError(
            f"{' '.join(map(str, command))}:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return done.stdout


def say(message: str) -> None:
    """Reports progress where it doesn't mix with answers."""
    sys.stderr.write(f"{message}\n")


def _is_installed() -> bool:
    try:
        return run("dpkg-query", "-W", "-f=${db:Status-Status}", PACKAGE) == "installed"
    except NativeServerError:
        return False


def _has_candidate() -> bool:
    # Images for containers come without package lists.
    if not run("apt-cache", "search", "--names-only", "^postgresql-common$"):
        say("fetching Debian's package lists")
        run("apt-get", "-q", "update")
    return bool(re.search(r"Candidate: \d", run("apt-cache", "policy", PACKAGE)))


def _install() -> None:
    say(f"installing {PACKAGE}")
    # Debian would create and start a cluster on port 5432 that nobody has asked for.
    veto = Path("/etc/postgresql-common/createcluster.d/fleetwatt.conf")
    veto.parent.mkdir(parents=True, exist_ok=True)
    veto.write_text("create_main_cluster = false\n")
    try:
        run("apt-get", "-qy", "--no-install-recommends", "install", PACKAGE)
    finally:
        veto.unlink()


def _cache() -> Path:
    cache = Path(__file__).resolve().parents[2] / ".fleetwatt/native"
    # Root's server runs as another user, to whom a checkout below /root is closed.
    is_open = all(folder.stat().st_mode & 0o001 for folder in cache.parents if folder.exists())
    return cache if is_open or os.geteuid() else Path("/var/cache/fleetwatt/native")


@contextmanager
def _for_everyone() -> Iterator[None]:
    """Let other users into what is made: root's server runs as one, whatever root's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _alone() -> Iterator[Path]:
    """Give the cache to one process at a time: those that start together install or unpack once."""
    with _for_everyone():
        cache = _cache()
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cache


def _unpacked() -> Path:
    with _alone() as cache:
        tree = cache / DONOR
        if not tree.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _unpack(Path(scratch)).rename(tree)
    return tree


def _unpack(scratch: Path) -> Path:
    say(f"unpacking Debian {DONOR}'s {PACKAGE} and its libraries (about 45 MB to download)")
    apt = _private_apt(scratch)
    run(*apt, "update")
    plan = run(*apt, "-qq", "--no-install-recommends", "--print-uris", "install", PACKAGE)
    names = re.findall(r"^'\S+' ([^_]+)_", plan, re.MULTILINE)
    run(*apt, "download", *filter(NEEDED.fullmatch, names), cwd=scratch)
    tree = scratch / "tree"
    for package in scratch.glob("*.deb"):
        run("dpkg-deb", "--extract", package, tree)
    tree.chmod(0o755)
    _wrap(tree)
    run(tree / PROGRAMS / "postgres", "--version")
    return tree


def _private_apt(scratch: Path) -> list[str]:
    """apt-get with the machine's mirror and proxy, but lists and packages of its own."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    # It counts nothing as installed, so that no library is left out.
    (scratch / "status").touch()
    (scratch / "sources").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {DONOR} main\n")
    options = {
        "Dir::State": scratch / "state",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::SourceList": scratch / "sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "APT::Default-Release": "",
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]


def _mirror() -> str:
    """The machine's Debian mirror, from apt: its sources are in many files of two formats."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    which = ["Created-By: Packages", "Origin: Debian", f"Codename: {codename}", "Component: main"]
    mirrors = run("apt-get", "indextargets", "--format", "$(SITE)", *which).split()
    if not mirrors or not KEYRING.exists():
        raise NativeServerError(f"On Debian from 12 on run `apt-get update` as root, {WAY_OUT}")
    return mirrors[0]


def _wrap(tree: Path) -> None:
    """Replaces each program by a script that runs it with the loader and libraries beside it.

    The machine's own may be older; and this way the programs need no patching.
    """
    libraries = next(tree.glob("usr/lib/*/libc.so.6")).parent
    loader = next(libraries.glob("ld-linux*.so.*"))
    script = WRAPPER.replace("LOADER", str(loader.relative_to(tree)))
    script = script.replace("LIBRARIES", str(libraries.relative_to(tree)))
    programs = (tree / PROGRAMS).rename(tree / PROGRAMS.with_name("elf"))
    (tree / PROGRAMS).mkdir()
    for program in programs.iterdir():
        wrapper = tree / PROGRAMS / program.name
        wrapper.write_text(script)
        wrapper.chmod(0o755)
