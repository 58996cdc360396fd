"""`fleetwatt mappings` moves the history of mappings in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.cli.conftest import Command
from tests.conftest import rows, truncate

HISTORY = """\
vehicleId,meterId,validFrom,validTo
V-1,M-1,,2024-02-01T10:00:00Z
V-1,M-2,2024-02-01T10:00:00Z,2024-02-02T00:00:00.500000Z
V-1,M-1,2024-02-03T00:00:00Z,
V-2,DE*ABC*E123,,
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mappings.csv"
    path.write_text(HISTORY)
    return path


def listed(client: FlaskClient) -> list[Any]:
    response = client.get("/v1/mappings")
    assert response.json
    items: list[Any] = response.json["items"]
    return items


def test_what_is_exported_can_be_imported_and_is_the_same(
    command: Command, client: FlaskClient, sql: Connection, file: Path, tmp_path: Path
) -> None:
    imported = command("mappings", "import", str(file))
    assert imported.exit_code == 0, imported.output
    assert "4 mappings created, 0 unchanged, 0 in conflict" in imported.output
    before = listed(client)

    exported = tmp_path / "again.csv"
    assert "4 mappings in" in command("mappings", "export", str(exported)).output
    assert exported.read_text() == HISTORY
    truncate(sql, "vehicle_meter_mapping")
    command("mappings", "import", str(exported))

    assert listed(client) == before
    again = command("mappings", "import", str(exported))
    assert "0 mappings created, 4 unchanged, 0 in conflict" in again.output
    assert sorted(tmp_path.iterdir()) == [exported, file]


def test_a_history_of_several_pages_is_exported_whole(
    command: Command, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("mappings", "import", str(file))
    for page in (1, 2, 3, 4):
        monkeypatch.setattr("fleetwatt.transfer.mappings.PAGE", page)
        assert command("mappings", "export", "-").stdout == HISTORY


def test_mappings_are_read_from_standard_input(command: Command, client: FlaskClient) -> None:
    imported = command("mappings", "import", "-", stdin=b"\xef\xbb\xbf" + HISTORY.encode())

    assert imported.exit_code == 0, imported.output
    assert len(listed(client)) == 4


def test_who_imports_is_kept(command: Command, sql: Connection, file: Path) -> None:
    command("mappings", "import", str(file))

    authors = rows(sql, "SELECT DISTINCT author FROM mapping_changes")
    assert len(authors) == 1
    assert authors != rows(sql, "SELECT session_user")


def test_columns_stand_in_any_order_and_ends_may_be_missing(
    command: Command, client: FlaskClient
) -> None:
    imported = command("mappings", "import", "-", stdin=b"meterId,vehicleId\nM-1,V-1\n")

    assert imported.exit_code == 0, imported.output
    assert listed(client) == [
        {"vehicleId": "V-1", "meterId": "M-1", "validFrom": None, "validTo": None}
    ]


def test_nothing_is_stored_where_a_line_is_invalid(command: Command, client: FlaskClient) -> None:
    text = (
        "vehicleId,meterId,validFrom,validTo\n"
        "V-1,M-1,2024-02-01T10:00:00Z,\n"
        "-V,M-1,,\n"
        "V-2,M-1,yesterday,\n"
        "V-2,,,\n"
        "\n"
        "V-2,M-1,2024-02-02T00:00:00Z,2024-02-01T00:00:00Z\n"
    )

    imported = command("mappings", "import", "-", stdin=text.encode())

    assert imported.exit_code == 1
    lines = [line for line in imported.output.splitlines() if line.startswith("line ")]
    assert [line.split(":")[0] for line in lines] == [f"line {number}" for number in (3, 4, 5, 7)]
    assert lines[-1] == "line 7: validTo: Must come after validFrom."
    assert "nothing was stored" in imported.output
    assert listed(client) == []


def test_a_mapping_that_another_is_in_the_way_of_is_left_out(
    command: Command, client: FlaskClient
) -> None:
    text = (
        b"vehicleId,meterId,validFrom,validTo\n"
        b"V-2,M-1,,\n"
        b"V-1,M-1,2024-02-01T10:00:00Z,\n"
        b"V-1,M-2,2024-01-01T00:00:00Z,\n"
    )

    imported = command("mappings", "import", "-", stdin=text)

    assert imported.exit_code == 1
    assert "2 mappings created, 0 unchanged, 1 in conflict" in imported.output
    assert "line 4: V-1 is on a meter from 2024-02-01T10:00:00Z on" in imported.output
    assert len(listed(client)) == 2


def test_of_many_problems_the_first_are_listed(command: Command) -> None:
    text = "vehicleId,meterId\n" + "V-1,-\n" * 150

    imported = command("mappings", "import", "-", stdin=text.encode())

    assert imported.output.count("line ") == 100
    assert "and 50 more" in imported.output


def test_what_is_in_the_way_is_cut_where_that_is_asked_for(
    command: Command, client: FlaskClient
) -> None:
    client.post("/v1/ingestion/mapping", json={"vehicleId": "V-1", "meterId": "M-1"})
    text = (
        b"vehicleId,meterId,validFrom,validTo\nV-1,M-2,2024-02-01T00:00:00Z,2024-02-02T00:00:00Z\n"
    )

    assert command("mappings", "import", "-", stdin=text).exit_code == 1
    assert len(listed(client)) == 1
    assert command("mappings", "import", "--replace", "-", stdin=text).exit_code == 0
    assert [mapping["meterId"] for mapping in listed(client)] == ["M-1", "M-2", "M-1"]


def test_many_mappings_are_imported_in_several_transactions(
    command: Command, client: FlaskClient
) -> None:
    lines = [f"V-{number},M-{number}\n" for number in range(2500)]

    imported = command(
        "mappings", "import", "-", stdin="".join(["vehicleId,meterId\n", *lines]).encode()
    )

    assert "2,500 mappings created, 0 unchanged, 0 in conflict" in imported.output
    assert len(listed(client)) == 2500


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "has the columns of no header"),
        (b"vehicleId\nV-1\n", "vehicleId,meterId must be there"),
        (b"vehicleId,meterId,meterId\n", "each once"),
        (b"vehicleId,meterId,since\n", "they may be vehicleId,meterId,validFrom,validTo"),
        (b"vehicleId,meterId\nV-1\n", "line 2 has 1 cells where the header has 2"),
        (b'vehicleId,meterId\nV-1,"M-1\n', "is not CSV: line 2: "),
        (b"vehicleId,meterId\nV-1,M-\xff\n", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_table_of_mappings_is_rejected_whole(
    command: Command, client: FlaskClient, text: bytes, complaint: str
) -> None:
    imported = command("mappings", "import", "-", stdin=text)

    assert imported.exit_code == 1
    assert complaint in imported.output
    assert listed(client) == []


def test_an_export_replaces_a_file_by_force_alone(command: Command, file: Path) -> None:
    refused = command("mappings", "export", str(file))
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert file.read_text() == HISTORY

    assert command("mappings", "export", "--force", str(file)).exit_code == 0
    assert file.read_text() == "vehicleId,meterId,validFrom,validTo\n"


def test_an_export_into_no_folder_is_one_line(command: Command, tmp_path: Path) -> None:
    refused = command("mappings", "export", str(tmp_path / "nowhere" / "mappings.csv"))

    assert refused.exit_code == 1
    assert "No such file or directory" in refused.output
    assert "Traceback" not in refused.output


def test_a_spreadsheet_s_dialect_is_read(
    command: Command, client: FlaskClient, tmp_path: Path
) -> None:
    file = tmp_path / "plan.csv"
    file.write_text("Fahrzeug;Säule;Beginn\nV-1;M-1;01.02.2024 10:00\n", "utf-8-sig")

    imported = command(
        *("mappings", "import", str(file), "--delimiter", ";", "--tz", "Europe/Berlin"),
        *("--time-format", "%d.%m.%Y %H:%M", "--column", "Fahrzeug=vehicleId"),
        *("--column", "Säule=meterId", "--column", "Beginn=validFrom"),
    )

    assert imported.exit_code == 0, imported.output
    assert [item["validFrom"] for item in listed(client)] == ["2024-02-01T09:00:00Z"]


def test_a_time_that_is_written_otherwise_is_said_by_line_and_field(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "plan.csv"
    file.write_text("vehicleId,meterId,validTo\nV-1,M-1,soon\n")

    imported = command("mappings", "import", str(file), "--time-format", "%d.%m.%Y")

    assert imported.exit_code == 1
    assert "line 2: validTo: 'soon' is not written as --time-format says" in imported.stderr


def test_devices_that_are_neither_registered_nor_heard_of_are_named(
    command: Command, client: FlaskClient, file: Path
) -> None:
    client.put("/v1/devices/meters/M-1", json={})

    imported = command("mappings", "import", str(file))

    assert imported.exit_code == 0
    assert "meter:DE*ABC*E123, meter:M-2, vehicle:V-1, vehicle:V-2" in imported.stderr
