"""Conventions of the SQL that a reader relies on: its width, its functions, its blocks' headers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from psycopg2.extensions import connection as Connection

from fleetwatt.database import queries
from fleetwatt.lifecycle.storage import SPANS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fleetwatt"
REPEATABLE = ROOT / "db" / "repeatable"
BLOCKS = SOURCE / "database" / "sql"

ROLES = ROOT / "db" / "roles.sql"
ROWS_BY_METHOD = {
    "query": {"many"},
    "query_one": {"one", "at most one"},
    "execute_once": {"one", "at most one", "many"},
}
MOST_COLUMNS = 110
MOST_LINES = 40

# Files that nothing here is asked of.
UNREAD = {
    # The table of what is materialized has a name that only EXECUTE can put there.
    "db/repeatable/per_stream/timescale/aggregates.sql",
}
# Blocks that change something by a function.
CHANGES = {
    "drop_chunks",
    "map_vehicle",
    "plan_next_run",
    "remove_readings",
    "replace_reading",
    "set_chunk_interval",
    "set_compression",
    "set_retention",
    "undo_correction",
    "unplug_vehicle",
}
_WRITES = re.compile(r"\b(?:INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")
# Functions and views over MOST_LINES, and why each is one.
LONG: dict[str, str] = {
    "${stream}_buckets": "one figure a line",
    "${stream}_curve_hours": "one judgement, whose parts read each other",
    "${stream}_fleet_parts": "one list of what is put in and what is taken out again",
    "${stream}_hours_older": "one column a line",
    "${stream}_neighbours": "one column a line",
    "${stream}_pieces": "one walk through the hours",
    "${stream}_plain_hours": "one figure a line",
    "${stream}_plain_span": "one figure a line",
    "${stream}_scan_start": "one walk back through the readings",
    "${stream}_spans": "one figure a line",
    "curve_scan": "one walk through the readings, whose state each rule reads",
    "fleet_buckets": "one figure a line",
    "fleet_performance": "one figure a line",
    "meter_shares": "one split, whose parts read each other",
    "moved_totals": "one figure a line",
    "vehicle_summary": "one figure a line",
}

# Blocks that no method of Database is called with, and what runs them instead.
RUN_OTHERWISE = {
    "store": "insert.insert_rows joins it for all streams",
    "replica_lag": "Replica asks it of the replica itself",
    "commit_durably": "Database asks each connection that it opens",
    "takes_writes": "check_ready gives its connection up where the answer is no",
    "doctor_server": "doctor asks on a connection of its own",
    "doctor_settings": "doctor asks on a connection of its own",
    "doctor_archiver": "doctor asks on a connection of its own",
    "doctor_base_backup": "doctor asks on a connection of its own",
    "overdue_jobs": "doctor asks on a connection of its own",
    "jobs_of_others": "doctor asks on a connection of its own",
    "roles_that_add_jobs": "doctor asks on a connection of its own",
    "expired_chunks": "doctor asks on a connection of its own",
    "future_chunks": "doctor asks on a connection of its own",
    "unrefreshed": "doctor asks on a connection of its own",
}

_HEADER = re.compile(r"^-- (\w+) --\n((?:--.*\n)+)", re.MULTILINE)
_ROWS = re.compile(r"-- Rows: (one|at most one|many)\.( Run once: .+\.)?")
_CREATES = re.compile(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|VIEW) ([\w${}]+)")


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _files(*folders: Path) -> list[Path]:
    found = [file for folder in folders for file in sorted(folder.rglob("*.sql"))]
    assert found
    return [file for file in found if _name(file) not in UNREAD]


def _statements(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield each statement's lines, and those of the comment right above it."""
    comment: list[str] = []
    lines: list[str] = []
    in_body = False
    for line in text.splitlines():
        if not lines and (not line or line.startswith("--")):
            comment = [*comment, line] if line else []
            continue
        lines.append(line)
        in_body ^= line.count("$$") % 2 == 1
        if line.endswith(";") and not in_body:
            yield lines, comment
            lines = []
            if not line.startswith("DROP "):
                comment = []


def test_a_line_is_no_longer_than_a_screen_shows() -> None:
    files = [*_files(REPEATABLE, BLOCKS), ROLES]

    assert not [
        f"{_name(file)}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > MOST_COLUMNS
    ]


def test_a_function_or_view_is_short_or_stands_in_the_list() -> None:
    lengths = {
        found[1]: len(lines)
        for file in _files(REPEATABLE)
        for lines, _ in _statements(file.read_text())
        if (found := _CREATES.match(lines[0]))
    }

    assert {name for name, length in lengths.items() if length > MOST_LINES} == set(LONG)


def test_a_function_or_view_says_what_goes_in_and_out() -> None:
    for file in _files(REPEATABLE):
        for lines, comment in _statements(file.read_text()):
            if found := _CREATES.match(lines[0]):
                assert comment, f"{_name(file)}: {found[1]}"


def test_no_function_or_view_is_written_inside_another_statement() -> None:
    for file in _files(REPEATABLE):
        for lines, _ in _statements(file.read_text()):
            assert not _CREATES.search("\n".join(lines[1:])), f"{_name(file)}: {lines[0]}"


def test_what_is_not_read_yet_is_there() -> None:
    assert all((ROOT / name).is_file() for name in UNREAD)


@cache
def headers() -> dict[str, tuple[str, bool]]:
    """Return by a block's name how many rows it returns, and whether it may run once only."""
    headers = {}
    for file in _files(BLOCKS):
        for name, comment in _HEADER.findall(file.read_text()):
            found = _ROWS.fullmatch(comment.splitlines()[-1])
            assert found, f"the header of {name} ends with no line `-- Rows: …`"
            headers[name] = found[1], bool(found[2])
    return headers


def _calls() -> Iterator[tuple[str, str]]:
    """Yield each call of a method of Database: the method, and the block that it runs."""
    for file in SOURCE.rglob("*.py"):
        if file.parent == SOURCE / "simulation":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ROWS_BY_METHOD
                and node.args
            ):
                for block in _named(node.args[0]):
                    yield node.func.attr, block


def _named(argument: ast.expr) -> list[str]:
    """Return the blocks that an argument may name: `"name"`, `f"{stream.name}.name"`, SPANS."""
    match argument:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.JoinedStr(values=[*_, ast.Constant(value=str(name))]):
            return [name.rpartition(".")[2]]
        case ast.Subscript(value=ast.Name(id="SPANS")):
            return sorted({name.rpartition(".")[2] for name in SPANS.values()})
    return []


def test_a_block_is_run_by_the_method_that_fits_its_header() -> None:
    calls = [(method, block) for method, block in _calls() if block in headers()]
    assert calls

    for method, block in calls:
        rows, is_once = headers()[block]
        assert is_once == (method == "execute_once"), f"{method} of {block}"
        assert rows in ROWS_BY_METHOD[method], f"{method} of {block}"


def test_every_block_is_run_by_a_method_or_stands_in_the_list() -> None:
    assert set(headers()) - {block for _, block in _calls()} == set(RUN_OTHERWISE)


def test_what_changes_something_is_run_once() -> None:
    """Where a connection is lost, whoever asked has to decide whether to ask again."""
    for file in _files(BLOCKS):
        for name, statement in queries.blocks(file.read_text()):
            if name in CHANGES or _WRITES.search(statement):
                assert headers()[name][1], name


def test_a_block_that_says_one_row_returns_one_whatever_is_asked(sql: Connection) -> None:
    texts = queries.load()
    with sql.cursor() as cursor:
        for name, statement in texts.items():
            block = name.rpartition(".")[2]
            if headers().get(block) == ("one", False) and block != "store":
                asked = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement))
                cursor.execute(statement, asked)
                assert cursor.rowcount == 1, name
