from __future__ import annotations

from datetime import timedelta

import pytest

from fleetwatt import durations


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(days=14)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration_is_hours_days_or_weeks(text: str, duration: timedelta) -> None:
    assert durations.parse(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "90 d", "-1d", "+1d", "1.5d", "90m", "90D", "1d12h", " 1d", "1d\n", "१d"],
)
def test_what_is_no_duration_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="write hours, days or weeks, as 12h, 90d, 2w"):
        durations.parse(text)


@pytest.mark.parametrize("text", ["0d", "36501d", "999999w"])
def test_a_duration_out_of_range_is_told_the_range(text: str) -> None:
    with pytest.raises(ValueError, match="from 1h to 36500d"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=14), "14d"),
        (timedelta(hours=27), "27h"),
        (timedelta(minutes=90), "1:30:00"),
    ],
)
def test_a_duration_is_written_in_days_or_hours(duration: timedelta, text: str) -> None:
    assert durations.written(duration) == text
