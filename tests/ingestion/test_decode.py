from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetwatt.faults import MAX_FAULTS
from fleetwatt.ingestion.decode import Bounds, Parsed, parse_json, parse_ndjson
from fleetwatt.ingestion.split import NoReading, NotJson, TooManyReadings
from fleetwatt.schemas.readings import READING_SCHEMAS
from fleetwatt.streams import MAX_AHEAD, METER, STREAMS, VEHICLE, Stream
from tests.examples import NOW, ago, meter, vehicle
from tests.scale import scaled

YEARS_AGO = datetime(1, 1, 2, tzinfo=UTC)
ANY_TIME = Bounds(datetime(9999, 12, 30, tzinfo=UTC), dict.fromkeys(STREAMS, YEARS_AGO))
TODAY = Bounds(NOW + MAX_AHEAD, dict.fromkeys(STREAMS, NOW - timedelta(days=1)))
EXAMPLES = {METER: meter(), VEHICLE: vehicle()}


def parse(body: Any, *streams: Stream, bounds: Bounds = ANY_TIME) -> Parsed:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_json(encoded, streams or STREAMS, bounds)


def stored(parsed: Parsed) -> list[tuple[str, list[Any]]]:
    """Return the ids stored by stream."""
    return [(rows.stream.name, [row[0] for row in rows.rows]) for rows in parsed.rows]


def faults(parsed: Parsed) -> set[tuple[int | None, str | None]]:
    return {(error.index, error.field) for error in parsed.faults.listed}


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_reading_becomes_a_row_in_the_order_of_the_columns(stream: Stream) -> None:
    reading = EXAMPLES[stream]

    (rows,) = parse(reading, stream).rows

    values = {field.column: reading[field.name] for field in stream.fields}
    values["time"] = datetime.fromisoformat(values["time"])
    assert rows.rows == [tuple(values[name] for name in stream.columns)]


@pytest.mark.parametrize("as_array", [True, False])
def test_a_field_of_another_stream_is_unknown(as_array: bool) -> None:
    parsed = parse([meter(soc=1)] if as_array else meter(soc=1), METER)

    assert faults(parsed) == {(0, "soc")}


def test_each_reading_goes_where_its_id_says() -> None:
    assert stored(parse([meter(), vehicle(), meter(meterId="M-2")])) == [
        ("meter", ["M-123", "M-2"]),
        ("vehicle", ["V-999"]),
    ]


def test_where_no_id_says_what_a_reading_is_a_misspelt_one_is_named() -> None:
    reading = meter(meterID="M-2")
    del reading["meterId"]

    assert faults(parse(reading)) == {(0, None), (0, "meterID")}


def test_an_id_is_found_however_its_name_is_written() -> None:
    body = json.dumps(meter()).replace("meterId", r"m\u0065terId").encode()

    assert stored(parse(body)) == [("meter", ["M-123"])]


def test_a_device_may_be_called_like_a_field() -> None:
    assert stored(parse(vehicle(vehicleId="meterId"))) == [("vehicle", ["meterId"])]


@pytest.mark.parametrize("device", ["M-1,M-2", "M-1,", ","])
def test_an_id_with_a_comma_is_not_taken_for_two(device: str) -> None:
    parsed = parse([meter(meterId=device), meter()], METER)

    assert faults(parsed) == {(0, "meterId")}
    assert stored(parsed) == [("meter", ["M-123"])]


@pytest.mark.parametrize("ids", [{}, {"meterId": "M-1", "vehicleId": "V-1"}])
def test_a_reading_of_no_stream_or_of_two_is_refused(ids: dict[str, str]) -> None:
    assert faults(parse({"timestamp": ago(minutes=1)} | ids)) == {(0, None)}


def test_every_fault_of_a_reading_is_named() -> None:
    reading = vehicle(soc=-1, batteryTemp="warm", extra=1)
    del reading["kwhDeliveredDc"]

    assert faults(parse([vehicle(), reading])) == {
        (1, "soc"),
        (1, "batteryTemp"),
        (1, "extra"),
        (1, "kwhDeliveredDc"),
    }


@pytest.mark.parametrize(
    "timestamp",
    [
        "2024-02-09T10:00:00",
        "2024-02-09",
        "1707472800",
        1707472800,
        None,
        "",
        "2024-02-30T10:00:00Z",
    ],
)
def test_a_timestamp_is_rfc_3339_with_an_offset(timestamp: Any) -> None:
    assert faults(parse(meter(timestamp=timestamp))) == {(0, "timestamp")}


@pytest.mark.parametrize("meter_id", ["", "-1", "ü", "a b", "a\n", "a" * 65, "a\0", 1, None])
def test_an_id_is_1_to_64_plain_characters(meter_id: Any) -> None:
    assert faults(parse(meter(meterId=meter_id), METER)) == {(0, "meterId")}


NO_MEASURES = [
    "1e999",
    "-1e999",
    "1e101",
    "1" * 400,
    "1" * 5_000,
    '"230"',
    "true",
    "[]",
    "[1e999]",
    "[" * 300 + "]" * 300,
    "{}",
    "-1",
]


def with_voltage(text: str) -> bytes:
    return json.dumps(meter(voltage=0)).replace('"voltage": 0', f'"voltage": {text}').encode()


@pytest.mark.parametrize("text", NO_MEASURES)
@pytest.mark.parametrize("streams", [(METER,), STREAMS], ids=["own route", "mixed route"])
def test_a_measure_is_a_finite_number_in_its_bounds(text: str, streams: tuple[Stream, ...]) -> None:
    assert faults(parse(with_voltage(text), *streams)) == {(0, "voltage")}


@pytest.mark.parametrize("text", NO_MEASURES)
def test_a_bad_number_costs_its_neighbours_nothing(text: str) -> None:
    valid = json.dumps(meter()).encode()

    in_array = parse(b"[" + valid + b"," + with_voltage(text) + b"]", METER)
    in_lines = parse_ndjson(valid + b"\n" + with_voltage(text), (METER,), ANY_TIME)

    assert stored(in_array) == stored(in_lines) == [("meter", ["M-123"])]
    assert in_array.faults == in_lines.faults
    assert faults(in_array) == {(1, "voltage")}


@pytest.mark.parametrize("streams", [(METER,), STREAMS], ids=["own route", "mixed route"])
def test_null_says_that_a_measure_is_unknown(streams: tuple[Stream, ...]) -> None:
    (rows,) = parse([meter(voltage=None), meter()], *streams).rows

    assert [row[METER.columns.index("voltage")] for row in rows.rows] == [None, 230]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_register_is_never_unknown(stream: Stream) -> None:
    nulls = dict.fromkeys(field.name for field in stream.measures)
    named = {measure.name for measure in stream.measures if not measure.nullable}

    assert named == {stream.counter.name}
    assert faults(parse(EXAMPLES[stream] | nulls, stream)) == {(0, stream.counter.name)}


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_what_may_be_unknown_may_not_be_left_out(stream: Stream) -> None:
    for measure in stream.measures:
        reading = {name: value for name, value in EXAMPLES[stream].items() if name != measure.name}
        assert faults(parse(reading, stream)) == {(0, measure.name)}


@pytest.mark.parametrize(("text", "value"), [("-0.0", 0), ("1e-999", 0), ("1" * 100, 1e100 / 9)])
def test_a_measure_is_a_double(text: str, value: float) -> None:
    (rows,) = parse(with_voltage(text), METER).rows

    assert rows.rows[0][METER.columns.index("voltage")] == pytest.approx(value)


@pytest.mark.parametrize(
    ("clock_offset", "accepted"),
    [
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, microseconds=1), False),
        (timedelta(days=-1), True),
        (timedelta(days=-1, microseconds=-1), False),
    ],
)
@pytest.mark.parametrize("as_array", [True, False])
def test_the_clock_bounds_a_timestamp(
    clock_offset: timedelta, accepted: bool, as_array: bool
) -> None:
    reading = meter(timestamp=(NOW + clock_offset).isoformat())

    parsed = parse([reading] if as_array else reading, METER, bounds=TODAY)

    assert bool(parsed.rows) is accepted
    assert faults(parsed) == (set() if accepted else {(0, "timestamp")})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[1,",
        b"{}x",
        b"[{}]]",
        b"\xff",
        b'{"a":"\xff"}',
        b'[{"a":"\xff"}]',
        b'{"\xff":1}',
        b'{"meterId":"\\ud800"}',
        b'[{"meterId":"\\udc00"}]',
        b'{"meterId":"a\0"}',
        b"[-NaN]",
        b"[{NaN:1}]",
        b"[NaNNaN]",
        b"[1NaN]",
        b'{"voltage":1e999',
        b'{"voltage":1e999}x',
        b'[{"voltage":1e999},{"meterId":"\xff"}]',
        b'[{"voltage":1e999},{"meterId":"\\udc00"}]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'[{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_said_to_be(body: bytes) -> None:
    with pytest.raises(NotJson):
        parse(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "there is nothing in it"),
        (b" \n", "there is nothing in it"),
        (b'{"meterId":"\xff"}', "byte 0xff in position 12"),
        (b'[{"meterId":"M-1"},{"meterId":"abc\xff"}]', "byte 0xff in position 34"),
        (b'{"meterId":"M-1",}', "char 17"),
        (b'[{"voltage":NaN},x]', "char 17"),
        (b'{"z":"\\ud800"}', "half of a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_where_a_body_stops_being_json_is_said(body: bytes, says: str) -> None:
    with pytest.raises(NotJson, match=says):
        parse(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"1e999", b"null", b'""', b'"meterId"', b" [ ] "])
def test_json_without_a_reading_is_said_to_be(body: bytes) -> None:
    with pytest.raises(NoReading):
        parse(body)


@pytest.mark.parametrize("reading", [meter(), 1], ids=["valid", "invalid"])
def test_more_than_ten_thousand_are_too_many(reading: Any) -> None:
    line = json.dumps(reading).encode() + b"\n"

    with pytest.raises(TooManyReadings):
        parse([reading] * 10_001, METER)
    with pytest.raises(TooManyReadings):
        parse_ndjson(line * 10_001, (METER,), ANY_TIME)


def test_ten_thousand_are_not_too_many() -> None:
    line = json.dumps(meter()).encode() + b"\n\n"

    assert parse([meter()] * 10_000, METER).valid == 10_000
    assert parse_ndjson(line * 10_000, (METER,), ANY_TIME).valid == 10_000


def test_a_line_is_a_reading_and_blank_ones_do_not_count() -> None:
    lines = [
        b"",
        json.dumps(meter()).encode(),
        b"{broken",
        b"\r",
        b"[]",
        json.dumps(vehicle()).encode(),
    ]

    parsed = parse_ndjson(b"\n".join(lines), STREAMS, ANY_TIME)

    assert stored(parsed) == [("meter", ["M-123"]), ("vehicle", ["V-999"])]
    assert faults(parsed) == {(1, None), (2, None)}
    with pytest.raises(NoReading):
        parse_ndjson(b"\n \n", STREAMS, ANY_TIME)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":[1e999,"\xff"]}',
        b'{"a":"\xff"}',
        b'{"meterId":"\\ud800"}',
        b'{"a":' * 100_000,
        b"NaN",
        b"{}{}",
    ],
)
def test_a_line_that_is_not_json_costs_the_others_nothing(line: bytes) -> None:
    valid = json.dumps(meter()).encode()

    parsed = parse_ndjson(b"\n".join([valid, line, valid]), STREAMS, ANY_TIME)

    assert stored(parsed) == [("meter", ["M-123", "M-123"])]
    assert faults(parsed) == {(1, None)}


def test_what_is_wrong_is_named_with_the_index_of_its_reading() -> None:
    parsed = parse([1, meter(), vehicle(soc=101), [], meter(voltage="230"), vehicle()])

    assert faults(parsed) == {(0, None), (2, "soc"), (3, None), (4, "voltage")}
    assert (parsed.valid, parsed.rejected) == (2, 4)


def test_an_invalid_reading_counts_once_by_its_first_fault() -> None:
    parsed = parse([meter(), meter(voltage=-1, timestamp="then"), 1, meter(voltage=-1)])

    assert len(parsed.faults.listed) == 4
    assert sorted(parsed.fields_at_fault, key=str) == [None, "voltage", "voltage"]


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-60, -60.1, 150, 150.1, 0, -0.0, -1e-9, 100, 100.1]),
    st.text(max_size=70),
    st.from_regex(r"\A[A-Za-z0-9._:*|@+-]{0,66}\n?\Z"),
    st.floats(-2e9, 7e9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat()),
    st.from_regex(
        r"\A20[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ]"
        r"[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?"
        r"(Z|z|[+-][0-2][0-9]:?[0-6][0-9])?\Z"
    ),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@st.composite
def odd_readings(draw: st.DrawFn) -> tuple[Stream, dict[str, Any]]:
    """A valid reading, with some fields changed, missing or added."""
    stream = draw(st.sampled_from(STREAMS))
    names = [field.name for field in stream.fields]
    changes = draw(st.dictionaries(st.sampled_from([*names, "extra", ""]), ODD_VALUES, max_size=3))
    missing = draw(st.sets(st.sampled_from(names), max_size=1))
    reading = EXAMPLES[stream] | changes
    return stream, {name: value for name, value in reading.items() if name not in missing}


@pytest.mark.scaled
@settings(max_examples=scaled(500))
@given(odd_readings())
def test_the_decoder_and_the_schema_accept_and_refuse_alike(
    odd: tuple[Stream, dict[str, Any]],
) -> None:
    stream, reading = odd
    by_schema = READING_SCHEMAS[stream].validate(reading)

    for parsed in (parse([reading], stream), parse(reading, stream)):
        assert {error.field for error in parsed.faults.listed} == set(by_schema)
        assert len(parsed.rows) == (not by_schema)
        if not by_schema:
            loaded = READING_SCHEMAS[stream].load(reading)
            (rows,) = parsed.rows
            assert rows.rows == [tuple(loaded[field.name] for field in stream.fields)]


TWICE = (
    b'{"meterId":"M-1","voltage":1,"voltage":2,"kwhConsumedAc":1,'
    b'"timestamp":"2026-01-01T00:00:00Z"}'
)
ONCE = TWICE.replace(b'"voltage":1,', b"")


@pytest.mark.parametrize("streams", [(METER,), STREAMS], ids=["one stream", "several"])
@pytest.mark.parametrize(
    ("body", "parser"),
    [
        (TWICE, parse_json),
        (b"[" + ONCE + b"," + TWICE + b"]", parse_json),
        (ONCE + b"\n" + TWICE, parse_ndjson),
        (TWICE.replace(b'"voltage":2', b'"volt\\u0061ge":2'), parse_json),
    ],
    ids=["one", "array", "lines", "escaped"],
)
def test_a_field_that_is_given_twice_is_named(
    body: bytes, parser: Any, streams: tuple[Stream, ...]
) -> None:
    parsed = parser(body, streams, ANY_TIME)

    assert [(fault.field, fault.message) for fault in parsed.faults.listed] == [
        ("voltage", "Given more than once.")
    ]
    assert parsed.valid == body.count(b"M-1") - 1


def test_a_missing_field_is_not_made_up_for_by_one_of_another_stream() -> None:
    odd = meter(soc=1)
    del odd["voltage"]

    parsed = parse([odd, vehicle()])

    assert stored(parsed) == [("vehicle", ["V-999"])]
    assert faults(parsed) == {(0, "voltage"), (0, "soc")}


def test_an_empty_object_among_readings_is_refused() -> None:
    parsed = parse([meter(), {}, vehicle()])

    assert parsed.valid == 2
    assert faults(parsed) == {(1, None)}


def test_a_reading_of_two_streams_does_not_make_up_for_one_of_none() -> None:
    both = meter() | vehicle()

    parsed = parse([both, {"soc": 1, "voltage": 1}, meter()])

    assert stored(parsed) == [("meter", ["M-123"])]
    assert faults(parsed) == {(0, None), (1, None)}


def test_parts_of_a_reading_on_two_lines_are_two_errors() -> None:
    first, second = ONCE.split(b',"kwh')
    body = b"\n".join([first, b'"kwh' + second + b"," + ONCE, ONCE])

    parsed = parse_ndjson(body, (METER,), ANY_TIME)

    assert parsed.valid == 1
    assert faults(parsed) == {(0, None), (1, None)}


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["meterId", "voltage", "kwhConsumedAc", "timestamp"])
@pytest.mark.parametrize("parser", [parse_json, parse_ndjson])
def test_a_number_that_json_lacks_costs_its_own_reading_alone(
    bad: str, field: str, parser: Any
) -> None:
    broken = json.dumps(meter(**{field: "here"})).replace('"here"', bad)
    good = json.dumps(meter(meterId="M-NaN"))
    body = f"[{good},{broken}]" if parser is parse_json else f"{good}\n{broken}"

    parsed = parser(body.encode(), STREAMS, ANY_TIME)

    assert stored(parsed) == [("meter", ["M-NaN"])]
    assert faults(parsed) == {(1, field)}


def test_a_leap_second_is_the_first_second_of_the_next_minute() -> None:
    times = ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.25Z", "2017-01-01T00:59:60+01:00"]

    parsed = parse([meter(timestamp=time) for time in times], METER)

    (rows,) = parsed.rows
    midnight = datetime(2017, 1, 1, tzinfo=UTC)
    assert [row[1] for row in rows.rows] == [
        midnight,
        midnight + timedelta(seconds=0.25),
        midnight,
    ]


@pytest.mark.parametrize("time", ["2016-12-31T23:59:61Z", "2016-12-31T23:60:00Z", "23:59:60Z"])
def test_no_other_second_past_the_minute_is_one(time: str) -> None:
    assert faults(parse(meter(timestamp=time), METER)) == {(0, "timestamp")}


IGNORING = replace(ANY_TIME, ignore_unknown=True)


def test_unknown_fields_are_ignored_where_that_is_asked() -> None:
    readings = [meter(rssi=-70), vehicle(firmware={"major": 1, "tags": ["a"]}), meter(soc=3)]

    parsed = parse(readings, bounds=IGNORING)

    assert parsed.rejected == 0
    assert [len(rows) for rows in parsed.rows] == [2, 1]


def test_a_repeated_unknown_field_is_ignored_and_a_repeated_known_one_is_not() -> None:
    text = json.dumps(meter())[:-1]

    assert parse(f'{text},"rssi":1,"rssi":2}}'.encode(), bounds=IGNORING).rejected == 0
    twice = parse(f'{text},"rssi":1,"voltage":2}}'.encode(), bounds=IGNORING)
    assert faults(twice) == {(0, "voltage")}


def test_a_reading_of_two_streams_is_rejected_although_unknown_fields_are_ignored() -> None:
    parsed = parse(meter(vehicleId="V-1"), bounds=IGNORING)

    assert faults(parsed) == {(0, None)}


def test_the_first_hundred_faults_are_listed_and_the_others_counted() -> None:
    parsed = parse([meter(voltage="high", rssi=1) for _ in range(80)], METER)

    assert len(parsed.faults.listed) == MAX_FAULTS
    assert parsed.faults.omitted == 160 - MAX_FAULTS
    assert parsed.rejected == 80


def test_a_long_name_is_cut_where_it_is_echoed() -> None:
    parsed = parse(meter(**{"x" * 10_000: 1}), METER)

    assert [len(fault.field or "") for fault in parsed.faults.listed] == [64]


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 2_000_000 + b"{}]",
        b"[" + b"1," * 2_000_000 + b"1]",
        b"[" + b'"",' * 2_000_000 + b'""]',
        b"[" + b"[]," * 2_000_000 + b"[]]",
    ],
    ids=["objects", "numbers", "strings", "arrays"],
)
def test_millions_of_items_are_too_many_readings(body: bytes) -> None:
    with pytest.raises(TooManyReadings):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b'\\"' * 2_000_000,
        b"[" + b"{" * 2_000_000,
        b"[" + b'{"a":' * 1_000_000,
        b'[{"a":"' + b'\\"' * 2_000_000 + b'NaN"',
    ],
    ids=["quotes", "braces", "objects", "an open string"],
)
def test_a_large_body_that_is_no_json_is_looked_through_once(body: bytes) -> None:
    """A second look from each quote or brace on would not end before the test run does."""
    with pytest.raises(NotJson):
        parse(body)


def test_of_a_reading_beyond_all_measure_it_is_not_said_what_is_wrong() -> None:
    parsed = parse(meter(**{f"unknown{number}": 1 for number in range(10_000)}), METER)

    assert faults(parsed) == {(0, None)}
    assert "over 100,000 bytes" in parsed.faults.listed[0].message


def test_millions_of_lines_are_too_many_readings_and_blank_ones_are_none() -> None:
    with pytest.raises(TooManyReadings):
        parse_ndjson(b"{}\n" * 2_000_000, STREAMS, ANY_TIME)
    with pytest.raises(NoReading):
        parse_ndjson(b" \n" * 4_000_000, STREAMS, ANY_TIME)
