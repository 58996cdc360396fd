"""What `make test` tries in part, `make test-long` finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FILES = [
    file.relative_to(Path(__file__).parent).as_posix()
    for file in sorted(Path(__file__).parent.rglob("test_*.py"))
    if re.search(r"\bscaled\(", file.read_text()) and file.name != Path(__file__).name
]


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_scaled_tests_marks_them(name: str) -> None:
    assert "pytest.mark.scaled" in (Path(__file__).parent / name).read_text()
