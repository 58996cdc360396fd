"""`.ci/prose`: what it finds, and what it passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROSE = Path(__file__).parents[1] / ".ci" / "prose"


def findings(folder: Path, name: str, text: str) -> list[str]:
    file = folder / name
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, str(PROSE), str(file)], capture_output=True, text=True, check=False
    )
    found = [line.split(": ", 1)[1] for line in done.stdout.splitlines()]
    assert bool(found) == bool(done.returncode)
    return found


LONG = " ".join(["word"] * 26)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One sentence here. Another one there.\n", "two sentences on a line"),
        ("A sentence that is\nbroken across lines.\n", "a sentence broken across lines"),
        (f"{LONG}.\n", "26 words in a sentence"),
        (f"| a | {' '.join(['word'] * 31)} |\n", "31 words in a cell"),
        (f"`{'x' * 300}` is code.\n", "characters in a line"),
        ("The answer tells what came.\n", "“tells”"),
        ("Nobody waits.\n", "“Nobody”"),
    ],
)
def test_markdown_that_reads_badly_is_found(tmp_path: Path, text: str, found: str) -> None:
    assert any(found in finding for finding in findings(tmp_path, "page.md", text))


@pytest.mark.parametrize(
    "text",
    [
        "One sentence here.\nAnother one there.\n",
        f"```\n{LONG}. And tells more.\n```\n",
        "`fleetwatt tells` is a name in code.\n",
        "- An item\n- and another one, e.g. this\n",
    ],
)
def test_markdown_that_reads_well_passes(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path, "page.md", text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", '"""It tells what came."""\n'),
        ("a.py", "# It tells\n# what came.\nx = 1\n"),
        ("a.py", 'raise ValueError("this is what it tells you")\n'),
        ("a.sql", "-- It tells what came.\nSELECT 1;\n"),
    ],
)
def test_the_words_of_docstrings_comments_and_messages_are_read(
    tmp_path: Path, name: str, text: str
) -> None:
    assert findings(tmp_path, name, text) == ["“tells”: returns, says or names"]
