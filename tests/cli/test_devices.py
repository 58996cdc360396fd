"""`fleetwatt devices` and `fleetwatt sites` keep the register, and move it as CSV."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.cli.conftest import Command
from tests.conftest import rows

DEVICES = """stream,id,name,site,intervalSeconds,maxKw
meter,DE*ABC*E123,"Bay 7, north",S-1,900.0,22.5
meter,M-1,,,,
vehicle,V-1,Ladesäule 🚚,S-1,,150.0
"""
SITES = """id,name,timeZone
S-1,Depot North,Europe/Berlin
S-2,,UTC
"""


@pytest.fixture
def registered(command: Command) -> None:
    for what, text in (("sites", SITES), ("devices", DEVICES)):
        done = command(what, "import", "-", stdin=text.encode())
        assert done.exit_code == 0, done.output


def said(done: Any) -> str:
    assert done.exit_code == 0, done.output
    return str(done.stdout)


@pytest.mark.usefixtures("registered")
def test_what_was_imported_is_what_the_routes_answer(client: FlaskClient) -> None:
    assert client.get("/v1/devices/meters/DE*ABC*E123").json == {
        "id": "DE*ABC*E123",
        "name": "Bay 7, north",
        "site": "S-1",
        "intervalSeconds": 900,
        "maxKw": 22.5,
    }
    assert (client.get("/v1/devices/vehicles/V-1").json or {})["name"] == "Ladesäule 🚚"
    assert (client.get("/v1/sites/S-1").json or {})["timeZone"] == "Europe/Berlin"


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("what", "text"), [("devices", DEVICES), ("sites", SITES)])
def test_what_is_exported_is_what_was_imported(
    command: Command, tmp_path: Path, what: str, text: str
) -> None:
    file = tmp_path / "register.csv"

    assert said(command(what, "export", "-")) == text
    said(command(what, "export", str(file)))
    assert file.read_text() == text
    again = said(command(what, "import", str(file)))
    assert again.startswith(f"0 {what} are new, 0 change, {text.count(chr(10)) - 1} are as")


@pytest.mark.usefixtures("registered")
def test_an_import_replaces_what_it_names_and_leaves_the_rest(command: Command) -> None:
    changes = b"\xef\xbb\xbfmaxKw,id,stream\r\n11,M-1,meter\r\n\r\n,M-2,meter\r\n22.5,M-3,meter\r\n"

    dry = said(command("devices", "import", "-", "--dry-run", stdin=changes))
    assert dry == "2 devices are new, 1 change, 0 are as they were.\nNothing was changed.\n"
    assert said(command("devices", "export", "-")) == DEVICES
    assert said(command("devices", "import", "-", stdin=changes)).startswith("2 devices are new, 1")
    assert said(command("devices", "export", "-")) == DEVICES.replace(
        "meter,M-1,,,,\n", "meter,M-1,,,,11.0\nmeter,M-2,,,,\nmeter,M-3,,,,22.5\n"
    )


@pytest.mark.usefixtures("registered")
def test_one_wrong_line_keeps_a_file_out_and_each_is_named(
    command: Command, sql: Connection
) -> None:
    text = """stream,id,name,intervalSeconds,maxKw
meter,M-9,,60,22
charger,M-9,,60,22
meter,a b,,60,22
meter,M-8,,0,x
meter,M-9,again,,
meter,M-7,"two
lines",NaN,true
"""
    done = command("devices", "import", "-", stdin=text.encode())

    assert done.exit_code == 1
    named = re.findall(r"line (\d+): (\w+)", done.output)
    assert named == [
        ("3", "stream"),
        ("4", "id"),
        ("5", "intervalSeconds"),
        ("5", "maxKw"),
        ("6", "an"),
        ("8", "name"),
        ("8", "intervalSeconds"),
        ("8", "maxKw"),
    ]
    assert "nothing was stored: 8 problems" in done.output
    assert rows(sql, "SELECT count(*) FROM devices") == [(3,)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "has the columns of no header"),
        (b"id,name\nM-1,x\n", "stream,id must be there"),
        (b"stream,id,color\nmeter,M-1,red\n", "has the columns stream,id,color"),
        (b"stream,id,id\nmeter,M-1,M-2\n", "each once"),
        (b"stream,id\nmeter\n", "line 2 has 1 cells where the header has 2"),
        (b"stream,id,name\nmeter,M-1,\xff\n", "is not UTF-8"),
        (b'stream,id,name\nmeter,M-1,"open\n', "is not CSV"),
        (b"stream,id,site\nmeter,M-1,S-9\n", "there is no site S-9"),
    ],
)
def test_a_file_that_is_none_of_the_register_says_why(
    command: Command, text: bytes, reason: str
) -> None:
    done = command("devices", "import", "-", stdin=text)

    assert done.exit_code == 1
    assert reason in done.output


def test_a_device_is_set_listed_and_removed(command: Command, client: FlaskClient) -> None:
    said(command("sites", "set", "S-1", "--name", "Depot", "--time-zone", "Europe/Berlin"))
    given = ("--site", "S-1", "--interval", "15m", "--max-kw", "22", "--name", "Bay 7")

    assert said(command("devices", "set", "meter:M-1", *given)) == "meter M-1 is new.\n"
    assert said(command("devices", "set", "meter:M-1", *given)) == "meter M-1 is as it was.\n"
    assert client.get("/v1/devices/meters/M-1").json == {
        "id": "M-1",
        "name": "Bay 7",
        "site": "S-1",
        "intervalSeconds": 900,
        "maxKw": 22,
    }
    said(command("devices", "set", "vehicle:V-1"))
    assert said(command("devices", "list")).split() == [
        *["stream", "id", "name", "site", "intervalSeconds", "maxKw"],
        *["meter", "M-1", "Bay", "7", "S-1", "900", "22"],
        *["vehicle", "V-1", "-", "-", "-", "-"],
    ]
    assert "V-1" not in said(command("devices", "list", "--site", "S-1"))
    assert "M-1" not in said(command("devices", "list", "--stream", "vehicle"))
    assert "Europe/Berlin" in said(command("sites", "list"))
    assert said(command("devices", "set", "meter:M-1", "--max-kw", "22")).endswith("changes.\n")
    assert (client.get("/v1/devices/meters/M-1").json or {})["site"] is None
    assert said(command("devices", "remove", "meter:M-1")) == "The meter M-1 is removed.\n"
    assert command("devices", "remove", "meter:M-1").exit_code == 1


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    "arguments",
    [
        ("devices", "set", "meter:M-1", "--max-kw", "1"),
        ("devices", "remove", "meter:M-1"),
        ("sites", "set", "S-1", "--time-zone", "Asia/Kolkata"),
        ("sites", "remove", "S-2"),
    ],
)
def test_a_dry_run_changes_nothing(command: Command, arguments: tuple[str, ...]) -> None:
    assert said(command(*arguments, "--dry-run")).endswith("Nothing was changed.\n")

    assert said(command("devices", "export", "-")) == DEVICES
    assert said(command("sites", "export", "-")) == SITES


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("devices", "set", "meter:M-1", "--max-kw", "0"), "maxKw: Must be"),
        (("devices", "set", "meter:M-1", "--interval", "32d"), "intervalSeconds: Must be"),
        (("devices", "set", "meter:M-1", "--name", "a\nb"), "name: Must be"),
        (("devices", "set", "meter:M-1", "--site", "S-9"), "there is no site S-9"),
        (("devices", "set", "charger:M-1"), "is no device"),
        (("devices", "remove", "vehicle:M-1"), "the register has no vehicle M-1"),
        (("sites", "set", "S-1", "--time-zone", "Berlin"), "timeZone: Must be"),
        (("sites", "set", "a b"), "can't be a device's id"),
        (("sites", "remove", "S-1"), "Devices are registered at S-1"),
        (("sites", "remove", "S-9"), "the register has no site S-9"),
    ],
)
def test_what_cannot_be_said_is_refused_in_a_line(
    command: Command, arguments: tuple[str, ...], reason: str
) -> None:
    done = command(*arguments)

    assert done.exit_code in {1, 2}
    assert reason in done.output
    assert said(command("devices", "export", "-")) == DEVICES


def test_a_spreadsheet_s_dialect_is_read(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "geräte.csv"
    file.write_text("Gerät;Leistung;Bemerkung\nM-1;22,5;alt\n", "utf-8-sig")

    done = command(
        *("devices", "import", str(file), "--delimiter", ";", "--decimal", ","),
        *("--column", "Gerät=id", "--column", "Leistung=maxKw", "--column", "Bemerkung="),
        *("--set", "stream=meter"),
    )

    assert done.exit_code == 0, done.output
    assert said(command("devices", "export", "-")) == (
        "stream,id,name,site,intervalSeconds,maxKw\nmeter,M-1,,,,22.5\n"
    )


def test_a_field_that_no_device_has_is_not_set(command: Command) -> None:
    done = command("devices", "import", "-", "--set", "colour=red", stdin=b"stream,id\n")

    assert done.exit_code == 2
    assert "none of the devices has colour" in done.stderr
