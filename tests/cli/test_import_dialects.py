"""`fleetwatt import` takes CSV as other programs write it."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from tests.cli.conftest import Command
from tests.conftest import rows
from tests.test_docs import ROOT

# A day without a change of the clock, within retention.
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "meterId,timestamp,kwhConsumedAc,voltage\n"
METERS = "SELECT meter_id, time, kwh_consumed_ac, voltage FROM meter_telemetry ORDER BY 1, 2"


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def rejections(file: Path) -> list[dict[str, Any]]:
    path = file.with_name(file.name + ".rejected.ndjson")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "meters.csv"


def test_the_recipe_for_a_german_file_is_one_command(
    command: Command, sql: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "how-to" / "import.md").read_text()
    recipe = page.split("## Files of other programs")[1]
    content, said = re.findall(r"```csv\n(.*?)```.*?```sh\n(.*?)```", recipe, re.DOTALL)[0]
    (tmp_path / "zaehler.csv").write_text("\ufeff" + content)
    monkeypatch.chdir(tmp_path)
    lines, _, printed = said.partition("\n# ")
    program, *arguments = shlex.split(lines.replace("\\\n", ""))
    assert program == "fleetwatt"

    result = command(*arguments)

    assert result.exit_code == 0, result.output
    assert printed.splitlines()[0] in result.stdout
    assert rows(sql, METERS) == [
        ("DE*ABC*M7", at(-60), 1050.5, 229.9),
        ("DE*ABC*M7", at(-45), 1051.25, 230.5),
        ("DE*ABC*M8", at(-60), 0.75, 230.0),
    ]


def test_numbers_may_have_leading_zeros_a_plus_and_no_digit_beside_the_point(
    command: Command, sql: Connection, file: Path
) -> None:
    cells = [("007.50", "+230"), (".5", "230."), ("00", "1e2"), ("0.100", "-0")]
    lines = [f"M-1,{at(n).isoformat()},{ac},{volt}" for n, (ac, volt) in enumerate(cells)]
    file.write_text(HEADER + "\n".join(lines))

    assert command("import", str(file)).exit_code == 0
    assert [row[2:] for row in rows(sql, METERS)] == [(7.5, 230), (0.5, 230), (0, 100), (0.1, 0)]


def test_a_point_is_no_decimal_comma_since_it_may_stand_for_thousands(
    command: Command, file: Path
) -> None:
    file.write_text(HEADER.replace(",", ";") + f"M-1;{at(0).isoformat()};1.234;230,5\n")

    assert command("import", str(file), "--delimiter", ";", "--decimal", ",").exit_code == 1
    (rejection,) = rejections(file)
    assert rejection["field"] == "kwhConsumedAc"
    assert rejection["reason"] == 'Not a number; "1.234" came.'


def test_tabs_delimit_and_a_last_cell_may_be_empty(
    command: Command, sql: Connection, file: Path
) -> None:
    lines = [f"M-1\t{at(0).isoformat()}\t5\t", f"M-2\t{at(0).isoformat()}\t5\t230"]
    file.write_text(HEADER.replace(",", "\t") + "\n".join(lines) + "\n")

    # An empty cell of a measure that may be unknown is unknown.
    assert command("import", str(file), "--delimiter", "tab").exit_code == 0
    assert rows(sql, METERS) == [("M-1", at(0), 5, None), ("M-2", at(0), 5, 230)]


def test_a_time_with_an_offset_keeps_it_whatever_the_zone(
    command: Command, sql: Connection, file: Path
) -> None:
    file.write_text(HEADER + "M-1,2026-11-02 13:00,5,1\nM-2,2026-11-02T07:00:00-05:00,5,1\n")

    assert command("import", str(file), "--tz", "Europe/Berlin").exit_code == 0
    assert [row[1] for row in rows(sql, METERS)] == [NOON, NOON]


@pytest.mark.parametrize(
    ("cell", "options", "reason"),
    [
        ("2026-11-02T12:00:00 01:00", (), '01:00" came. In CSV, --tz and --time-format'),
        ("2026-11-02T12:00:00", (), '12:00:00" came. In CSV, --tz and --time-format'),
        ("2026-03-29 02:30", ("--tz", "Europe/Berlin"), "Berlin jumped over 2026-03-29 02:30:00."),
        (
            "2026-10-25 02:30",
            ("--tz", "Europe/Berlin"),
            "twice, at 2026-10-25T00:30:00Z and at 2026-10-25T01:30:00Z: write it with its offset",
        ),
        ("02.11.2026", ("--tz", "UTC"), "is no time as 2026-01-31T00:00: --time-format reads"),
        ("11/2/2026", ("--time-format", "%d.%m.%Y"), "is not written as --time-format says"),
        ("2.11.2026", ("--time-format", "%d.%m.%Y"), "has no offset from UTC: say by --tz"),
        ("0001-01-01", ("--tz", "Asia/Tokyo"), "is out of range"),
    ],
)
def test_a_wrong_time_is_explained_as_one_in_a_file(
    command: Command, file: Path, cell: str, options: tuple[str, ...], reason: str
) -> None:
    file.write_text(HEADER + f"M-1,{cell},5,230\n")

    assert command("import", str(file), *options).exit_code == 1
    (rejection,) = rejections(file)
    assert rejection["field"] == "timestamp"
    assert reason in rejection["reason"]
    assert "URL" not in rejection["reason"]


def test_columns_are_renamed_and_left_out_and_constants_added(
    command: Command, sql: Connection, file: Path
) -> None:
    file.write_text(f"when,total,state\n{at(0).isoformat()},5,ok\n")
    columns = ("--column", "when=timestamp", "--column", "total=kwhConsumedAc", "--column=state=")
    constants = ("--set", "meterId=M-1", "--set", "voltage=229.5")

    assert command("import", str(file), *columns, *constants).exit_code == 0
    assert rows(sql, METERS) == [("M-1", at(0), 5, 229.5)]


def increments(file: Path, first: int, *values: str) -> None:
    lines = [f"M-1,{at(first + n).isoformat()},{value},230" for n, value in enumerate(values)]
    file.write_text(HEADER + "\n".join(lines) + "\n")


def test_increments_are_summed_and_a_later_file_continues_the_register(
    command: Command, sql: Connection, file: Path
) -> None:
    increments(file, 0, "0.1", "0.2", "0")
    assert command("import", str(file), "--increments").exit_code == 0
    again = command("import", str(file), "--increments").stdout
    assert "0 readings stored, 3 were there already, 0 rejected" in again

    later = file.with_name("later.csv")
    increments(later, 3, "0.4", "0.3")
    assert command("import", str(later), "--increments").exit_code == 0

    assert [row[2] for row in rows(sql, METERS)] == [0.1, 0.3, 0.3, 0.7, 1.0]


def test_the_energy_of_a_line_with_a_wrong_time_is_in_the_next_register(
    command: Command, sql: Connection, file: Path
) -> None:
    increments(file, 0, "1", "2", "4", "-8", "16")
    text = file.read_text().replace(at(1).isoformat(), "then")
    file.write_text(text + f"M-1,{at(2).isoformat()},32,230\n")

    assert command("import", str(file), "--increments").exit_code == 1
    assert [row[2] for row in rows(sql, METERS)] == [1, 7, 23]
    assert [(rejection["line"], rejection["field"]) for rejection in rejections(file)] == [
        (3, "timestamp"),
        (5, "kwhConsumedAc"),
        (7, "timestamp"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--decimal", ","), "--decimal , needs another --delimiter"),
        (("--delimiter", ";;"), "is no single character, nor the word tab"),
        (("--tz", "Berlin"), "'Berlin' is no IANA time zone"),
        (("--time-format", "%Q"), "bad directive"),
        (("--column", "x"), "'x' is not COLUMN=FIELD"),
        (("--column", "x=colour"), "no reading has colour"),
        (("--set", "colour=red"), "no reading has colour"),
        (("--set", "timestamp=now"), "differ in time"),
    ],
)
def test_options_that_make_no_sense_are_named(
    command: Command, file: Path, options: tuple[str, ...], said: str
) -> None:
    file.write_text(HEADER)

    result = command("import", str(file), *options)

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.csv", ("--column", "when=timestamp"), "lacks what --column renames: when"),
        ("a.csv", ("--set", "voltage=230"), "has what --set gives: voltage"),
        ("a.ndjson", ("--tz", "UTC"), "is not CSV: the options for CSV say nothing about it"),
    ],
)
def test_options_that_do_not_fit_a_file_are_named(
    command: Command, tmp_path: Path, name: str, options: tuple[str, ...], said: str
) -> None:
    file = tmp_path / name
    file.write_text(HEADER)

    result = command("import", str(file), *options)

    assert result.exit_code == 1
    assert said in result.stderr
