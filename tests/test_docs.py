"""What the docs must name: whoever adds one of these finds the place by a failing test."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from docs.reference import generate
from fleetwatt.app import create_app
from fleetwatt.cli import fleetwatt
from fleetwatt.config import SETTINGS, Config
from fleetwatt.figures import WARNINGS
from fleetwatt.http.problems import HTTP_KINDS, KINDS, Kind
from fleetwatt.observability import metrics

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ROUTES = (ROOT / "docs" / "reference" / "api.md").read_text()
DOCS = README + "".join(file.read_text() for file in (ROOT / "docs").rglob("*.md"))
DECISIONS = ROOT / "docs" / "explanation" / "decisions"
KIND_NAMES = {kind.name for kind in (*KINDS.values(), *HTTP_KINDS.values())}


def routes() -> set[str]:
    paths = {rule.rule for rule in create_app(Config()).url_map.iter_rules()}
    # The pages' own files stand below them.
    return {path for path in paths if not path.startswith(("/docs/<", "/web/<"))}


def commands(group: click.Group, prefix: str = "fleetwatt") -> list[str]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, f"{prefix} {name}")
        else:
            found.append(f"{prefix} {name}")
    return found


@pytest.mark.parametrize("page", sorted(generate.PAGES))
def test_a_table_of_the_reference_is_what_the_code_says(page: str) -> None:
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()

    assert text == generate.generated(page), "run `make reference`"


@pytest.mark.parametrize("name", sorted({*metrics.DATABASE, *metrics.BUILD}))
def test_a_metric_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "reference" / "metrics.md").read_text()


@pytest.mark.parametrize(
    "kind", [*KINDS.values(), *HTTP_KINDS.values()], ids=lambda kind: kind.name
)
def test_a_problem_says_when_it_comes_and_what_to_do(kind: Kind) -> None:
    assert kind.when
    assert kind.remedy


@pytest.mark.parametrize("variable", [setting.variable for setting in SETTINGS])
def test_a_setting_is_documented(variable: str) -> None:
    assert f"`{variable}`" in (ROOT / "docs" / "reference" / "settings.md").read_text()


@pytest.mark.parametrize("name", sorted(KIND_NAMES))
def test_a_problem_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "reference" / "problems.md").read_text()


@pytest.mark.parametrize("warning", WARNINGS)
def test_a_warning_is_documented(warning: str) -> None:
    assert f"`{warning}`" in (ROOT / "docs" / "explanation" / "energy.md").read_text()


@pytest.mark.parametrize("route", sorted(routes()))
def test_a_route_is_documented(route: str) -> None:
    # Whole, not as the beginning of another; the docs may name an id in short.
    pattern = re.sub(r"<.*?>", r"\{\\w+\}", route.rstrip("/")) + r"/?(?![\w/{-])"
    assert re.search(pattern, ROUTES)


@pytest.mark.parametrize("command", commands(fleetwatt))
def test_a_command_is_documented(command: str) -> None:
    assert command in DOCS


@pytest.mark.parametrize(
    "decision", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda file: file.stem
)
def test_a_decision_is_in_the_index_under_its_title(decision: Path) -> None:
    title = decision.read_text().splitlines()[0].removeprefix("# ")

    assert f"\n- [{title}]({decision.name})\n" in (DECISIONS / "index.md").read_text()


PAGES = sorted({*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")})


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the repository's host and the site make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if ":" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def named_tests() -> list[str]:
    return sorted(set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text())))


@pytest.mark.parametrize("name", named_tests())
def test_a_test_that_the_threat_model_names_exists(name: str) -> None:
    sources = [file.read_text() for file in (ROOT / "tests").rglob("test_*.py")]

    assert any(f"def {name}(" in source for source in sources)


def mapped_files() -> list[str]:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    questions = contributing.split("## Where is …")[1].split("\n## ")[0]
    return sorted(set(re.findall(r"`(\w[\w./]*/[\w.]+)`", questions)))


@pytest.mark.parametrize("file", mapped_files())
def test_a_file_that_contributings_map_names_exists(file: str) -> None:
    assert (ROOT / file).is_file()


def test_contributings_map_answers_twelve_questions_with_at_most_two_files_each() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    questions = re.findall(r"^\| (.*\?) \| (.*) \|$", contributing, re.MULTILINE)

    assert len(questions) >= 12
    assert all(1 <= answer.count("`") / 2 <= 2 for _, answer in questions)
