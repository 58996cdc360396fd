"""The commands of the docs' own code blocks, run as a reader would, and their answers compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
SERVICE = "http://127.0.0.1:8000"
# A block after a comment `needs: …` needs more than a service; `run: …` says how it runs.
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>\w+: [^>]*?) -->\n)?^```sh\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
CONSOLE = re.compile(r"^```\n(?P<body>\$ .*?)^```$", re.DOTALL | re.MULTILINE)
# What is the time of asking, or counts from it.
VOLATILE = re.compile(
    r'"(?:windowStart|windowEnd|receivedAt|validTo|exactUntil|changedAt)":"20(?:2[6-9]|[3-9]\d)-[^"]*"'
    r'|"ageSeconds":[\d.]+'
)
SPACE = re.compile(r",\s+(?=[\"{])|(?<=[\[{:])\s+")


@dataclass(frozen=True)
class Step:
    """A command of a page, and the answer below it, if any.

    Attributes:
        mark: What the comment above its block says: `needs: …`, `run: …`, or nothing.
    """

    command: str
    answer: str
    mark: str

    @property
    def is_request(self) -> bool:
        return self.command.startswith("curl ")


def steps(page: Path) -> Iterator[Step]:
    """Yield a page's commands, each with the comment lines that follow it."""
    for block in BLOCK.finditer(page.read_text()):
        mark = block["mark"] or ""
        command, answer = "", ""
        for line in block["body"].splitlines():
            continues = command.rstrip().endswith("\\") or command.count("'") % 2
            if line.startswith("#") and command and not continues:
                answer += line.removeprefix("#").removeprefix(" ") + "\n"
            elif line.startswith("#"):
                continue
            elif continues:
                command += line + "\n"
            else:
                if command.strip():
                    yield Step(command.strip(), answer, mark)
                command, answer = line + "\n", ""
        if command.strip():
            yield Step(command.strip(), answer, mark)


def console_commands(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the commands after a `$` in a page's plain blocks, each with what it prints there."""
    for block in CONSOLE.finditer(page.read_text()):
        for part in block["body"].removeprefix("$ ").split("\n$ "):
            command, _, printed = part.partition("\n")
            yield command, printed


def send(command: str, url: str) -> tuple[int, str]:
    """Send what a curl command says; return the answer's status and text."""
    words = iter(shlex.split(command.replace("\\\n", ""), comments=True))
    assert next(words) == "curl"
    method, body, headers, target = None, None, {}, ""
    for word in words:
        if word == "-H":
            name, value = next(words).split(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words).encode()
        elif word == "-X":
            method = next(words)
        elif word != "-L":
            target = word
    assert target.startswith(SERVICE), target
    request = urllib.request.Request(
        target.replace(SERVICE, url), body, headers=headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command by bash, with this environment's programs first."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def compact(text: str) -> str:
    """Return JSON as the service writes it, with one mark for whatever depends on the time."""
    text = text.replace("\r\n", "\n")
    return VOLATILE.sub("<now>", SPACE.sub(lambda found: found[0].strip(), text.strip()))


def assert_same(answer: str, expected: str) -> None:
    """Compare an answer with a page's, in which an ellipsis stands for anything."""
    pattern = re.escape(compact(expected)).replace("\\ …", "…").replace("…", ".*")

    assert re.fullmatch(pattern, compact(answer), re.DOTALL), answer


def assert_answered(step: Step, url: str) -> None:
    """Send a step's request, and compare status and answer with what stands below it."""
    status, text = send(step.command, url)
    expected_status, _, expected = step.answer.partition(" ")
    if expected_status.isdigit():
        assert status == int(expected_status), text
        assert json.loads(text) is not None
        assert_same(text, expected)
    else:
        assert 200 <= status < 300, text
        if step.answer:
            assert_same(text, step.answer)


def assert_printed(step: Step, folder: Path, **environment: str) -> None:
    """Run a step's command, and compare what it prints with what stands below it.

    A command fails only where the page shows an error, or that it rejected a line.
    """
    done = run(step.command, folder, **environment)
    says_so = re.search(r"^(Error|fleetwatt): |[1-9]\d* rejected", step.answer, re.MULTILINE)
    assert bool(done.returncode) == bool(says_so), done.stdout + done.stderr
    if step.answer:
        assert_same(done.stdout or done.stderr, step.answer)
