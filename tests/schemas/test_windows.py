from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow as ma
import pytest

from fleetwatt.schemas.windows import FleetWindowQuery, SummaryQuery, WindowQuery

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class ByTheDay(FleetWindowQuery):
    bucket = ma.fields.String()


def window(schema: type[ma.Schema], **asked: str) -> tuple[str, str]:
    """Return the start and the end of the window that a query asks for."""
    loaded = schema().load(asked)
    return loaded["start"].isoformat()[:16], loaded["end"].isoformat()[:16]


def refused(schema: type[ma.Schema], **asked: str) -> dict[str, Any]:
    with pytest.raises(ma.ValidationError) as error:
        schema().load(asked)
    return dict(error.value.messages_dict)


def test_a_window_is_an_end_and_hours_or_a_start_and_an_end() -> None:
    end = "2026-10-25T10:17:00Z"

    assert window(WindowQuery, end=end) == ("2026-10-24T10:17", "2026-10-25T10:17")
    assert window(WindowQuery, end=end, hours="3") == ("2026-10-25T07:17", "2026-10-25T10:17")
    assert window(WindowQuery, end=end, start="2026-10-20T00:00:00+02:00") == (
        "2026-10-19T22:00",
        "2026-10-25T10:17",
    )


def test_a_window_ends_now_unless_it_says_when() -> None:
    before = datetime.now(UTC)

    loaded = WindowQuery().load({"hours": "2"})

    assert before <= loaded["end"] <= datetime.now(UTC)
    assert loaded["end"] - loaded["start"] == 2 * HOUR


@pytest.mark.parametrize("schema", [WindowQuery, SummaryQuery, FleetWindowQuery])
def test_a_start_and_hours_are_one_too_many(schema: type[ma.Schema]) -> None:
    start, end = "2026-10-25T08:00:00Z", "2026-10-25T10:00:00Z"

    assert list(refused(schema, start=start, hours="2")) == ["hours"]
    assert list(refused(schema, start=start, end=end, hours="2")) == ["hours"]


@pytest.mark.parametrize("schema", [WindowQuery, SummaryQuery, FleetWindowQuery])
@pytest.mark.parametrize("start", ["2026-10-25T10:00:00Z", "2026-10-25T10:30:00Z"])
def test_a_window_that_does_not_start_before_its_end_is_refused(
    schema: type[ma.Schema], start: str
) -> None:
    assert list(refused(schema, start=start, end="2026-10-25T10:00:00Z")) == ["start"]


def test_a_summary_has_744_hours_at_most() -> None:
    end = "2026-11-01T00:00:00Z"

    assert window(SummaryQuery, end=end, hours="744")[0] == "2026-10-01T00:00"
    assert window(SummaryQuery, end=end, start="2026-10-01T00:00:00Z")[0] == "2026-10-01T00:00"
    assert list(refused(SummaryQuery, end=end, hours="745")) == ["hours"]
    assert list(refused(SummaryQuery, end=end, start="2026-09-30T23:59:59Z")) == ["start"]


def test_a_fleets_window_is_cut_to_whole_hours_of_the_zone() -> None:
    end = "2026-10-25T10:59:00Z"

    assert window(FleetWindowQuery, end=end, hours="1") == ("2026-10-25T09:00", "2026-10-25T10:00")
    assert window(FleetWindowQuery, end=end, start="2026-10-25T08:59:00Z") == (
        "2026-10-25T08:00",
        "2026-10-25T10:00",
    )
    assert window(FleetWindowQuery, end=end, hours="1", tz="Asia/Kathmandu") == (
        "2026-10-25T09:15",
        "2026-10-25T10:15",
    )


def test_a_fleets_window_that_nothing_is_left_of_is_refused() -> None:
    start, end = "2026-10-25T10:01:00Z", "2026-10-25T10:59:00Z"

    assert list(refused(FleetWindowQuery, start=start, end=end)) == ["start"]


def test_a_fleets_days_begin_and_end_on_days_of_the_zone() -> None:
    asked = {"bucket": "1d", "tz": "Europe/Berlin"}

    assert window(ByTheDay, start="2026-10-24T09:00:00Z", end="2026-10-27T09:00:00Z", **asked) == (
        "2026-10-23T22:00",
        "2026-10-26T23:00",
    )


@pytest.mark.parametrize(
    ("end", "start"),
    [
        ("2026-10-26T12:00:00+01:00", "2026-10-24T22:00"),
        ("2026-03-30T12:00:00+02:00", "2026-03-28T23:00"),
        ("2026-07-02T12:00:00+02:00", "2026-06-30T22:00"),
    ],
)
def test_24_hours_by_the_day_are_one_day_however_long_it_is(end: str, start: str) -> None:
    asked = {"bucket": "1d", "tz": "Europe/Berlin"}

    assert window(ByTheDay, end=end, **asked)[0] == start
    assert window(ByTheDay, end=end, hours="24", **asked)[0] == start


def test_a_fleet_has_744_hours_at_most_or_a_month_of_the_zone() -> None:
    october = {"start": "2026-10-01T00:00:00+02:00", "end": "2026-11-01T00:00:00+01:00"}

    assert list(refused(FleetWindowQuery, **october)) == ["start"]
    assert window(FleetWindowQuery, **october, tz="Europe/Berlin") == (
        "2026-09-30T22:00",
        "2026-10-31T23:00",
    )
    # 744 hours as they pass, of which the clock jumped over one.
    assert window(FleetWindowQuery, end="2026-04-02T00:00:00Z", hours="744", tz="Europe/Berlin")
    assert list(refused(FleetWindowQuery, hours="745")) == ["hours"]


def test_a_fleets_days_are_400_at_most() -> None:
    asked = {"bucket": "1d", "tz": "Europe/Berlin", "end": "2026-11-05T00:00:00+01:00"}

    assert window(ByTheDay, **asked, start="2025-10-01T00:00:00+02:00")[0] == "2025-09-30T22:00"
    assert list(refused(ByTheDay, **asked, start="2025-09-30T00:00:00+02:00")) == ["start"]
    assert list(refused(ByTheDay, **asked, start="1970-01-01T00:00:00Z")) == ["start"]


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "europe/berlin"])
def test_what_is_no_zone_is_refused_by_name(name: str) -> None:
    assert list(refused(FleetWindowQuery, tz=name)) == ["tz"]
