"""`fleetwatt import` stores a file's readings by the rules of the ingestion routes."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.database.client import Database
from fleetwatt.database.errors import Unavailable
from fleetwatt.database.schema import editions
from fleetwatt.database.shared_transaction import WriteResult
from fleetwatt.streams import METER, VEHICLE, Rows
from fleetwatt.transfer import importing
from tests.cli.conftest import Command
from tests.conftest import rows
from tests.examples import NOW, Reading, ago, at, meter, vehicle

COUNTS = "SELECT (SELECT count(*) FROM meter_telemetry), (SELECT count(*) FROM vehicle_telemetry)"


def meters(count: int) -> list[Reading]:
    """Readings of one meter, a minute apart, up to two days ago."""
    return [
        meter(kwhConsumedAc=0.1 * number, timestamp=ago(days=2, minutes=count - number))
        for number in range(count)
    ]


def ndjson(readings: Iterable[Reading]) -> bytes:
    return b"".join(json.dumps(reading).encode() + b"\n" for reading in readings)


def write_csv(path: Path, columns: Sequence[str], readings: Iterable[Reading]) -> str:
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, columns)
        out.writeheader()
        out.writerows(readings)
    return str(path)


def stored(connection: Connection) -> tuple[int, int]:
    """How many readings of meters and of vehicles history has."""
    ((of_meters, of_vehicles),) = rows(connection, COUNTS)
    return of_meters, of_vehicles


def rejections(file: Path) -> list[dict[str, Any]]:
    path = file.with_name(file.name + ".rejected.ndjson")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_bad_line_in_a_thousand_costs_no_other_and_is_named(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    readings = meters(1_000)
    readings[499]["voltage"] = -1
    file.write_bytes(ndjson(readings))

    result = command("import", str(file))

    assert result.exit_code == 1
    assert "999 readings stored, 0 were there already, 1 rejected" in result.stdout
    assert f"see {file}.rejected.ndjson" in result.stdout
    assert stored(sql) == (999, 0)
    assert rejections(file) == [
        {
            "line": 500,
            "field": "voltage",
            "reason": "Must be from 0 to 1e+100; -1 came.",
            "text": json.dumps(readings[499]),
        }
    ]


def test_a_file_without_a_bad_line_leaves_nothing_beside_it(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson(meters(3)))

    assert command("import", str(file)).exit_code == 0
    assert list(tmp_path.iterdir()) == [file]


def test_rejected_lines_may_be_thrown_away(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson(meters(1)) + b"{}\n")

    result = command("import", str(file), "--rejected", "/dev/null")

    assert "1 readings stored, 0 were there already, 1 rejected" in result.stdout


def test_a_later_run_replaces_the_rejected_lines_of_an_earlier_one(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(b"{}\n{}\n")
    command("import", str(file))
    file.write_bytes(b"{}\n")

    assert command("import", str(file)).exit_code == 1
    assert {rejection["line"] for rejection in rejections(file)} == {1}


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_what_no_import_has_made_is_neither_cut_nor_followed(
    command: Command, sql: Connection, tmp_path: Path, is_link: bool
) -> None:
    file, foreign = tmp_path / "meters.ndjson", tmp_path / "notes"
    file.write_bytes(ndjson(meters(1)) + b"{}\n")
    foreign.write_text("mine")
    named = foreign
    if is_link:
        named = tmp_path / "link"
        named.symlink_to(foreign)

    result = command("import", str(file), "--rejected", str(named))

    assert result.exit_code == 1
    assert str(named) in result.stderr
    assert foreign.read_text() == "mine"
    assert stored(sql) == (0, 0)


@pytest.mark.parametrize("name", ["meters.ndjson.checkpoint", "meters.ndjson.checkpoint.new"])
@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_what_has_a_checkpoint_s_name_and_no_import_has_made_stays(
    command: Command, tmp_path: Path, name: str, is_link: bool
) -> None:
    file, foreign, named = tmp_path / "meters.ndjson", tmp_path / "notes", tmp_path / name
    file.write_bytes(ndjson(meters(1)))
    foreign.write_text("mine")
    if is_link:
        named.symlink_to(foreign)
    else:
        foreign.rename(named)

    result = command("import", str(file), "--restart")

    assert result.exit_code == int(name.endswith("checkpoint"))
    assert name not in result.stderr or "is no checkpoint of an import" in result.stderr
    assert named.read_text() == "mine"
    assert named.is_symlink() == is_link


def test_a_link_to_nowhere_is_not_followed(command: Command, tmp_path: Path) -> None:
    file, link = tmp_path / "meters.ndjson", tmp_path / "link"
    file.write_bytes(b"{}\n")
    link.symlink_to(tmp_path / "nowhere")

    assert command("import", str(file), "--rejected", str(link)).exit_code == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_file_may_hold_both_streams_and_blank_lines(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "both"
    file.write_bytes(ndjson([meter()]) + b"\r\n\n" + ndjson([vehicle(), vehicle(soc="full")]))

    assert command("import", str(file)).exit_code == 1
    assert stored(sql) == (1, 1)
    assert [(rejection["line"], rejection["field"]) for rejection in rejections(file)] == [
        (5, "soc")
    ]


def test_a_file_that_is_imported_again_adds_nothing(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson(meters(20)))
    command("import", str(file))

    result = command("import", str(file))

    assert result.exit_code == 0
    assert "0 readings stored, 20 were there already, 0 rejected" in result.stdout
    assert stored(sql) == (20, 0)


def test_what_is_imported_is_the_latest_reading_only_where_it_is_newest(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson([meter(voltage=1), meter(voltage=2, timestamp=ago(days=9))]))
    command("import", str(file))

    assert rows(sql, "SELECT voltage FROM meters_latest") == [(1.0,)]


@pytest.mark.parametrize("name", ["meters.ndjson.gz", "meters.ndjson", "meters"])
def test_gzip_is_seen_by_content(
    command: Command, sql: Connection, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(ndjson(meters(3))))

    assert command("import", str(file)).exit_code == 0
    assert stored(sql) == (3, 0)


def test_gzip_that_is_cut_short_stores_what_is_whole_and_says_where_it_ends(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson.gz"
    file.write_bytes(gzip.compress(ndjson(meters(2_000)))[:-900])

    result = command("import", str(file))

    assert result.exit_code == 1
    assert "can't be decompressed after line " in result.stderr
    assert stored(sql)[0] > 0


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_standard_input_is_read(command: Command, sql: Connection, compressed: bool) -> None:
    content = ndjson(meters(3))

    result = command("import", "-", stdin=gzip.compress(content) if compressed else content)

    assert result.exit_code == 0
    assert stored(sql) == (3, 0)


def test_columns_of_csv_may_stand_in_any_order(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    columns = ["voltage", "timestamp", "meterId", "kwhConsumedAc"]
    file = write_csv(tmp_path / "meters.csv", columns, [meter(kwhConsumedAc=1e-7, voltage=229.9)])

    assert command("import", file).exit_code == 0
    found = rows(sql, "SELECT meter_id, kwh_consumed_ac, voltage FROM meter_telemetry")
    assert found == [("M-123", 1e-7, 229.9)]


def test_csv_may_hold_both_streams(command: Command, sql: Connection, tmp_path: Path) -> None:
    columns = list(meter() | vehicle())
    file = write_csv(tmp_path / "both.csv", columns, [meter(), vehicle()])

    assert command("import", file).exit_code == 0
    assert stored(sql) == (1, 1)


def test_bad_cells_of_csv_are_named_by_line_and_field(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "vehicles.csv"
    good = f"V-1,45,{ago(days=1)},850.2,30"
    bad = [
        f"V-1,171,{ago(days=1)},850.2,30",
        f"V-1,nan,{ago(days=1)},850.2,30",
        f"V-1,1_0,{ago(days=1)},850.2,30",
        f"V-1,45,{ago(days=1)},,30",
        f"V 1,45,{ago(days=1)},850.2,30",
        f"V-1,45,{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ},850.2,30",
        "V-1,45,2024-02-09T10:00:00,850.2,30",
        "V-1,45",
        '"V-1,45',
    ]
    header = "\ufeffvehicleId,soc,timestamp,kwhDeliveredDc,batteryTemp"
    file.write_text("\n".join([header, *bad, good]))

    assert command("import", str(file)).exit_code == 1

    assert stored(sql) == (0, 1)
    found = [
        (rejection["line"], rejection["field"], rejection["reason"])
        for rejection in rejections(file)
    ]
    assert found[0][2] == "Must be from 0 to 100; 171 came."
    assert found[5][2].startswith("More than 5 minutes ahead of the server's clock")
    assert found == [
        (2, "soc", found[0][2]),
        (3, "soc", 'Not a number; "nan" came.'),
        (4, "soc", 'Not a number; "1_0" came.'),
        (5, "kwhDeliveredDc", "Missing."),
        (6, "vehicleId", found[4][2]),
        (
            7,
            "timestamp",
            "More than 5 minutes ahead of the server's clock: set the device's clock.",
        ),
        (8, "timestamp", found[6][2]),
        (9, None, "has 2 cells where the header has 5"),
        (10, None, "is not CSV: unexpected end of data"),
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("meterId,timestamp,kwhConsumedAc", "lacks the columns: voltage"),
        ("meterId,timestamp,kwhConsumedAc,voltage,colour", "has unknown columns: colour"),
        ("meterId,timestamp,timestamp,kwhConsumedAc,voltage", "has a column twice: timestamp"),
        ("timestamp,voltage", "lacks the column: meterId or vehicleId"),
        ("meterId;timestamp", "has unknown columns: meterId;timestamp"),
    ],
)
def test_a_header_that_is_none_of_readings_is_refused_and_the_column_named(
    command: Command, tmp_path: Path, header: str, said: str
) -> None:
    file = tmp_path / "meters.csv"
    file.write_text(f"{header}\n1,2,3,4\n")

    result = command("import", str(file))

    assert result.exit_code == 1
    assert said in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'[{"meterId":"M-1"}]', "is a JSON array"),
        ("a.csv", b"", "is empty"),
        ("a.parquet", b"PAR1 and no more", "can't be read as Parquet"),
        ("a.gz", b"\x1f\x8bgzip it is not", "can't be decompressed"),
    ],
)
def test_what_is_no_file_of_readings_is_refused(
    command: Command, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)

    result = command("import", str(file))

    assert result.exit_code == 1
    assert said in result.stderr


def test_a_line_without_an_end_is_rejected_and_never_held_whole(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson([meter()]) + b'{"x":"' + b"y" * 200_000 + b'"}\n' + ndjson(meters(1)))

    assert command("import", str(file)).exit_code == 1
    assert stored(sql) == (2, 0)
    (rejection,) = rejections(file)
    assert (rejection["line"], rejection["reason"]) == (2, "is longer than 65,536 bytes")
    assert len(rejection["text"]) < 1_000


def test_lines_of_nothing_but_a_byte_order_mark_are_blank(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "joined.ndjson"
    mark = b"\xef\xbb\xbf"
    file.write_bytes(mark + b"\n" + mark + ndjson([meter(voltage=-1), meter()]))

    assert command("import", str(file)).exit_code == 1
    assert stored(sql) == (1, 0)
    (rejection,) = rejections(file)
    assert (rejection["line"], rejection["field"]) == (2, "voltage")


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database go away after the first of the batches, which are of 10 lines."""
    monkeypatch.setattr("fleetwatt.transfer.formats.MAX_READINGS", 10)
    write, calls = Database.write, iter([True])

    def write_once(database: Database, batch: Sequence[Rows]) -> WriteResult:
        if next(calls, None):
            return write(database, batch)
        raise Unavailable("it went away")

    monkeypatch.setattr(Database, "write", write_once)


@pytest.mark.parametrize("suffix", [".ndjson", ".ndjson.gz", ".csv", ".csv.gz"])
def test_an_interrupted_import_goes_on_where_it_was(
    command: Command,
    sql: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    readings = meters(25)
    readings[4]["voltage"] = readings[19]["voltage"] = -1
    plain = tmp_path / "plain"
    if ".csv" in suffix:
        write_csv(plain, list(readings[0]), readings)
    else:
        plain.write_bytes(ndjson(readings))
    file = tmp_path / f"meters{suffix}"
    content = plain.read_bytes()
    file.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    with monkeypatch.context() as patched:
        cut_off(patched)
        assert "FLEETWATT_DATABASE_URL: " in command("import", str(file)).stderr
    assert stored(sql) == (9, 0)

    result = command("import", str(file))

    assert "Going on after line 1" in result.stderr
    assert "23 readings stored, 0 were there already, 2 rejected" in result.stdout
    assert stored(sql) == (23, 0)
    header = int(".csv" in suffix)
    assert [rejection["line"] for rejection in rejections(file)] == [5 + header, 20 + header]


@pytest.mark.parametrize("change", ["the file", "the database", "restart"])
def test_a_checkpoint_counts_for_the_same_file_and_database_unless_told_otherwise(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson(meters(25)))
    with monkeypatch.context() as patched:
        cut_off(patched)
        command("import", str(file))

    match change:
        case "the file":
            file.write_bytes(ndjson(meters(26)))
        case "the database":
            monkeypatch.setattr(importing, "database_identity", lambda _: "another")
    result = command("import", str(file), *(["--restart"] if change == "restart" else []))

    assert result.exit_code == 0
    assert "Going on" not in result.stderr
    # The file's last hours are others once it has another reading.
    again = "10 conflicts" if change == "the file" else "10 were there already"
    assert again in result.stdout


OLD = at(NOW - timedelta(days=2000))


@pytest.fixture
def retention(sql: Connection) -> Iterator[None]:
    """Raw history is kept 1,095 days, which the Apache edition does not do by default."""
    is_apache = editions.edition(sql) == "apache"
    keep = "SELECT set_retention('meter_telemetry', %s, NULL)"
    with sql.cursor() as cursor:
        if is_apache:
            cursor.execute(keep, (timedelta(days=1095),))
        yield
        if is_apache:
            cursor.execute(keep, (None,))


@pytest.mark.usefixtures("retention")
def test_history_older_than_retention_is_refused_with_the_command_that_would_keep_it(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson([meter(), meter(timestamp=OLD)]))

    result = command("import", str(file))

    assert result.exit_code == 1
    assert f"{OLD[:16]}Z is older than " in result.stderr
    assert "run `fleetwatt retention set meter_telemetry 2002d`" in result.stderr
    assert "--skip-old" in result.stderr
    assert list(tmp_path.iterdir()) == [file]
    assert stored(sql) == (0, 0)


@pytest.mark.community
def test_history_older_than_the_aggregate_is_kept_by_two_commands(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson([meter(timestamp="2015-01-01T00:00:00Z")]))

    said = command("import", str(file)).stderr

    days = (datetime.now(UTC) - datetime(2015, 1, 1, tzinfo=UTC)).days + 2
    assert (
        f"run `fleetwatt retention set meter_hourly {days}d` and "
        f"`fleetwatt retention set meter_telemetry {days}d`; "
    ) in said


@pytest.mark.usefixtures("retention")
def test_history_older_than_retention_can_be_left_out(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "meters.ndjson"
    file.write_bytes(ndjson([meter(), meter(timestamp=OLD)]))

    assert command("import", "--skip-old", str(file)).exit_code == 1
    assert stored(sql) == (1, 0)
    (rejection,) = rejections(file)
    assert (rejection["line"], rejection["field"]) == (2, "timestamp")
    assert "Older than the raw history that is kept" in rejection["reason"]


@pytest.mark.community
def test_the_touched_hours_are_refreshed_and_no_others(
    command: Command, sql: Connection, tmp_path: Path
) -> None:
    start = NOW.replace(minute=0, second=0) - timedelta(days=30)
    around = [start + timedelta(minutes=minute) for minute in (10, 50, 70)]
    file = tmp_path / "both.ndjson"
    readings = [meter(timestamp=at(time)) for time in around]
    file.write_bytes(ndjson([*readings, vehicle(timestamp=at(start)), vehicle()]))

    result = command("import", str(file))

    until = start + timedelta(hours=2)
    said = f"Refreshed meter_hourly from {start:%Y-%m-%dT%H:%MZ} to {until:%Y-%m-%dT%H:%MZ}."
    assert said in result.stdout
    for stream in (METER, VEHICLE):
        stale = f"SELECT stale_hours('{stream.hourly}', tstzrange(%(start)s, %(end)s))"
        assert rows(sql, stale, start=start, end=until - timedelta(seconds=1)) == [("{}",)]


def test_the_hour_that_still_fills_is_not_refreshed(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "meters.ndjson"
    # Some minutes ahead: the hour may end while this runs.
    file.write_bytes(ndjson([meter(timestamp=at(datetime.now(UTC) + timedelta(minutes=4)))]))

    assert "Refreshed" not in command("import", str(file)).stdout


def test_parquet_without_pyarrow_says_how_to_get_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "meters.parquet"
    file.write_bytes(b"PAR1")

    for arguments in (("import", str(file)), ("export", "meter", str(tmp_path / "new.parquet"))):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "pip install 'fleetwatt[parquet]'" in result.stderr
