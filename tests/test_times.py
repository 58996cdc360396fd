from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleetwatt import times


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(days=14)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration_is_seconds_minutes_hours_days_or_weeks(text: str, duration: timedelta) -> None:
    assert times.parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "90 d", "-1d", "+1d", "1.5d", "90y", "90D", "1d12h", " 1d", "1d\n", "१d"],
)
def test_what_is_no_duration_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="hours, days or weeks, as 30s, 5m, 12h, 90d, 2w"):
        times.parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0d", "36501d", "999999999w"])
def test_a_duration_out_of_range_is_told_the_range(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text} is out of range: from 1s to 36500d"):
        times.parse_duration(text)


def test_the_least_duration_is_for_its_reader_to_say() -> None:
    assert times.parse_duration("0s", least=timedelta(0)) == timedelta(0)
    assert times.parse_duration("60m", least=timedelta(hours=1)) == timedelta(hours=1)
    with pytest.raises(ValueError, match="59m is out of range: from 1h"):
        times.parse_duration("59m", least=timedelta(hours=1))


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=14), "14d"),
        (timedelta(hours=27), "27h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=90), "90s"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1500), "0:00:01.500000"),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(
    duration: timedelta, text: str
) -> None:
    assert times.format_duration(duration) == text


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:30Z", "2026-01-31T12:30:00+00:00", "2026-01-31T17:30+05:00"]
)
def test_a_time_is_returned_in_utc(text: str) -> None:
    assert times.parse_time(text) == datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    assert times.parse_time(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T00:00"])
def test_a_time_without_an_offset_needs_a_zone(text: str) -> None:
    with pytest.raises(times.NoOffset, match="has no offset from UTC"):
        times.parse_time(text)

    assert times.parse_time(text, UTC) == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "0001-01-01T00:00+05:00"])
def test_what_is_no_time_is_answered_with_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="not a time: write 2026-01-31T00:00Z or 2026-01-31"):
        times.parse_time(text)


def test_a_minute_is_written_with_four_digits_for_the_year() -> None:
    assert times.format_minute(datetime(2, 1, 31, 5, 4, 3, tzinfo=UTC)) == "0002-01-31T05:04Z"
