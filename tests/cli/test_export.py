"""`fleetwatt export` writes what is stored, and `fleetwatt import` reads it back."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from pyarrow import parquet

from fleetwatt.database.client import Database
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.transfer import exporting
from tests.cli.conftest import Command
from tests.conftest import rows
from tests.examples import NOW, at, meter, vehicle

DAY = timedelta(days=1)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0) - 2 * DAY
# Around the boundary of two chunks, with a fraction of a second.
TIMES = [
    MIDNIGHT - timedelta(seconds=1),
    MIDNIGHT,
    MIDNIGHT + timedelta(microseconds=1),
    MIDNIGHT + DAY,
]


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file by its suffix."""
    match path.suffix:
        case ".parquet":
            return list(parquet.read_table(path).to_pylist())
        case ".gz":
            text = gzip.decompress(path.read_bytes()).decode()
        case _:
            text = path.read_text()
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(autouse=True)
def _readings(client: FlaskClient) -> None:
    """Two meters and two vehicles around midnight, with values that no short decimal holds."""
    readings = [
        reading
        for number in (1, 2)
        for index, time in enumerate(TIMES)
        for reading in (
            meter(meterId=f"M-{number}", kwhConsumedAc=0.1 + index / 3, timestamp=at(time)),
            vehicle(vehicleId=f"V-{number}", soc=index / 7, timestamp=at(time)),
        )
    ]
    response = client.post("/v1/ingestion", json=readings)
    assert response.json
    assert response.json["accepted"] == 16


def history(connection: Connection, stream: Stream) -> list[tuple[Any, ...]]:
    return rows(connection, f"SELECT * FROM {stream.history} ORDER BY 1, 2")


@pytest.mark.parametrize("suffix", exporting.SUFFIXES)
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_what_is_exported_and_imported_again_is_equal(
    command: Command, sql: Connection, tmp_path: Path, stream: Stream, suffix: str
) -> None:
    before = history(sql, stream)
    file = tmp_path / f"all{suffix}"

    assert f"8 readings in {file}" in command("export", stream.name, str(file)).stdout
    with sql.cursor() as cursor:
        cursor.execute(f"TRUNCATE {stream.history}, {stream.latest}")
    assert "8 readings stored" in command("import", str(file)).stdout

    assert history(sql, stream) == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("suffix", exporting.SUFFIXES)
def test_the_start_counts_and_the_end_does_not(
    command: Command, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"day{suffix}"
    window = ("--start", at(MIDNIGHT), "--end", f"{MIDNIGHT + DAY:%Y-%m-%d}")

    assert "4 readings" in command("export", "meter", str(file), *window).stdout

    found = read(file)
    assert [reading["meterId"] for reading in found] == ["M-1", "M-1", "M-2", "M-2"]
    times = [datetime.fromisoformat(str(reading["timestamp"])) for reading in found[:2]]
    assert times == TIMES[1:3]


def test_one_device_or_several_can_be_chosen(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"

    assert "4 readings" in command("export", "vehicle", str(file), "--device", "V-2").stdout
    assert {reading["vehicleId"] for reading in read(file)} == {"V-2"}
    both = ("--device", "V-2", "--device", "V-1", "--device", "V-0")
    assert "8 readings" in command("export", "vehicle", str(file), *both, "--force").stdout


def test_pages_meet_without_a_gap_or_an_overlap(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    file = tmp_path / "pages.csv"
    command("export", "meter", str(file))

    keys = [(reading["meterId"], reading["timestamp"]) for reading in read(file)]
    assert len(set(keys)) == len(keys) == 8


def test_a_window_without_readings_gives_a_file_with_columns_alone(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "none.csv"

    assert "0 readings" in command("export", "meter", str(file), "--end", "2001-01-01").stdout
    assert file.read_text() == "meterId,timestamp,kwhConsumedAc,voltage\n"


def test_an_export_that_fails_leaves_the_file_as_it_was(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "all.csv"
    file.write_text("before")
    monkeypatch.setattr(exporting, "export", lambda *_: 1 // 0)

    result = command("export", "meter", str(file), "--force")
    assert isinstance(result.exception, ZeroDivisionError)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_standard_output_is_csv_and_nothing_else(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    command("export", "meter", str(file))

    result = command("export", "meter", "-")

    assert result.stdout == file.read_text()
    assert "8 readings" in result.stderr


@pytest.mark.parametrize("suffix", exporting.SUFFIXES)
def test_a_file_that_is_there_is_replaced_by_force_alone(
    command: Command, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"all{suffix}"
    file.write_text("before")

    result = command("export", "meter", str(file))

    assert result.exit_code == 1
    assert f"{file} is there already: --force replaces it" in result.stderr
    assert file.read_text() == "before"
    assert command("export", "meter", str(file), "--force").exit_code == 0
    assert len(read(file)) == 8


def test_a_link_is_not_followed(command: Command, tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "all.csv"
    link.symlink_to(other)

    assert command("export", "meter", str(link)).exit_code == 1
    assert not other.exists()
    other.write_text("before")
    assert command("export", "meter", str(link), "--force").exit_code == 0
    assert other.read_text() == "before"
    assert len(read(link)) == 8


def test_a_part_that_somebody_else_writes_is_left_alone(command: Command, tmp_path: Path) -> None:
    part = tmp_path / "all.csv.part"
    part.write_text("of another export")

    result = command("export", "meter", str(tmp_path / "all.csv"))

    assert result.exit_code == 1
    assert f"{part}: File exists" in result.stderr
    assert part.read_text() == "of another export"


@pytest.mark.parametrize("what", ["devices", "sites", "mappings"])
def test_tables_replace_a_file_by_force_alone(command: Command, tmp_path: Path, what: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text("before")

    assert command(what, "export", str(file)).exit_code == 1
    assert file.read_text() == "before"
    assert command(what, "export", str(file), "--force").exit_code == 0
    assert file.read_text() == command(what, "export", "-").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("meter", "all.txt"), "must end in .csv, .csv.gz, .parquet"),
        (("meters", "all.csv"), "'meters' is not one of 'meter', 'vehicle'"),
        (("meter", "all.csv", "--start", "yesterday"), "'yesterday' is not a time: write"),
        (
            ("meter", "all.csv", "--start", "2024-01-01", "--end", "2024-01-01"),
            "--start must lie before --end",
        ),
    ],
)
def test_bad_arguments_are_named(command: Command, arguments: tuple[str, ...], said: str) -> None:
    result = command("export", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_what_can_not_be_a_devices_id_is_named(command: Command, tmp_path: Path) -> None:
    result = command("export", "meter", str(tmp_path / "x.csv"), "--device", "M 1")

    assert result.exit_code == 2
    assert "'--device': 'M 1' can't be a device's id" in result.stderr


def test_a_file_that_can_not_be_written_is_named(command: Command, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "readings.csv"

    result = command("export", "meter", str(nowhere))

    assert result.exit_code == 1
    assert f"{nowhere}.part: No such file or directory" in result.stderr


@pytest.mark.community
def test_compressed_chunks_are_exported_alike(
    command: Command, sql: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, compressed = tmp_path / "plain.csv", tmp_path / "compressed.csv"
    command("export", "meter", str(plain))
    with sql.cursor() as cursor:
        for (chunk,) in rows(sql, "SELECT show_chunks('meter_telemetry')::text"):
            cursor.execute(f"CALL convert_to_columnstore('{chunk}')")
    monkeypatch.setattr(exporting, "PAGE", 3)

    command("export", "meter", str(compressed))

    assert compressed.read_text() == plain.read_text()


def test_the_spans_are_the_chunks_cut_to_the_window(config: Any) -> None:
    database = Database(config)
    (stream, _) = STREAMS
    selection = exporting.Selection(stream, MIDNIGHT - timedelta(hours=1), MIDNIGHT + 3 * DAY)

    spans = exporting.spans(database, selection)
    database.close()

    assert spans == [
        (MIDNIGHT - timedelta(hours=1), MIDNIGHT),
        (MIDNIGHT, MIDNIGHT + DAY),
        (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY),
    ]
    assert all(edge.tzinfo and edge.astimezone(UTC) == edge for span in spans for edge in span)


@pytest.mark.parametrize("device", ["DE*ABC*E123", "RDAM|123", "a@b+c-d"])
def test_an_id_is_imported_as_it_was(
    device: str, client: FlaskClient, command: Command, sql: Connection, tmp_path: Path
) -> None:
    client.post("/v1/ingestion/meter", json=meter(meterId=device))
    file = tmp_path / "meters.csv"

    assert command("export", "meter", str(file), "--device", device).exit_code == 0
    assert {row["meterId"] for row in read(file)} == {device}
    with sql.cursor() as cursor:
        cursor.execute("TRUNCATE meter_telemetry, meters_latest")
    assert command("import", str(file)).exit_code == 0
    assert rows(sql, "SELECT meter_id FROM meters_latest") == [(device,)]
