"""The requests of README and the tutorial, sent to a service, have the answers that stand there."""

from __future__ import annotations

import json
import re
import shlex
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial" / "first-hour.md")
SERVICE = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What is the time of asking, or counts from it.
VOLATILE = re.compile(
    r'"(?:windowStart|windowEnd|receivedAt|validTo|exactUntil)":"20(?:2[6-9]|[3-9]\d)-[^"]*"|"ageSeconds":[\d.]+'
)
SPACE = re.compile(r",\s+(?=[\"{])|(?<=[\[{:])\s+")


@dataclass(frozen=True)
class Exchange:
    """A curl command of a page, and the answer below it."""

    command: str
    answer: str


def exchanges(page: Path) -> Iterator[Exchange]:
    """Yield a page's curl commands, each with the comment lines that follow it."""
    for block in BLOCK.findall(page.read_text()):
        command, answer = "", ""
        for line in block.splitlines():
            if line.startswith("#") and command:
                answer += line.removeprefix("#").removeprefix(" ") + "\n"
            else:
                if answer:
                    yield Exchange(command, answer)
                    command, answer = "", ""
                command = (command + line + "\n").lstrip()
        if answer:
            yield Exchange(command, answer)


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
        else:
            target = word
    assert target.startswith(SERVICE)
    request = urllib.request.Request(
        target.replace(SERVICE, url), body, headers=headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def compact(text: str) -> str:
    """Return JSON as the service writes it, with one mark for whatever depends on the time."""
    text = text.replace("\r\n", "\n")
    return VOLATILE.sub("<now>", SPACE.sub(lambda found: found[0].strip(), text.strip()))


def assert_same(answer: str, expected: str) -> None:
    """Compare an answer with a page's, in which an ellipsis stands for anything."""
    pattern = re.escape(compact(expected)).replace("\\ …", "…").replace("…", ".*")

    assert re.fullmatch(pattern, compact(answer), re.DOTALL), answer


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_request_of_a_page_has_the_answer_that_stands_below_it(
    page: Path, server_url: str
) -> None:
    found = [exchange for exchange in exchanges(page) if exchange.command.startswith("curl")]
    assert len(found) >= 3

    for exchange in found:
        status, text = send(exchange.command, server_url)
        expected_status, _, expected = exchange.answer.partition(" ")
        if expected_status.isdigit():
            assert status == int(expected_status), text
            assert json.loads(text) is not None
            assert_same(text, expected)
        else:
            assert status == 200, text
            assert_same(text, exchange.answer)


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
