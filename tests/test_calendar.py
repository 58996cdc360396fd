from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import tzdata
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetwatt import calendar
from fleetwatt.calendar import CLOCK, EPOCH, USUAL, begin, bounds, zone

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(moment: datetime, name: str) -> str:
    return moment.astimezone(zone(name)).isoformat()


def cut(start: str, end: str, bucket: str, name: str) -> list[str]:
    """Return the bounds of a window's buckets as the local clock reads them."""
    return [local(bound, name) for bound in bounds(utc(start), utc(end), bucket, zone(name))]


def lengths(first: str, last: str, name: str) -> list[float]:
    """Return how many hours each local day has, from a date to one that is no longer of them."""
    start, end = (
        datetime.fromisoformat(day).replace(tzinfo=zone(name)).astimezone(UTC)
        for day in (first, last)
    )
    return [
        (later - earlier) / HOUR
        for earlier, later in pairwise(bounds(start, end, "1d", zone(name)))
    ]


@pytest.mark.parametrize(
    ("name", "first", "last", "hours"),
    [
        ("UTC", "2026-10-24", "2026-10-27", [24, 24, 24]),
        ("Europe/Berlin", "2026-10-24", "2026-10-27", [24, 25, 24]),
        ("Europe/Berlin", "2026-03-28", "2026-03-31", [24, 23, 24]),
        ("Australia/Lord_Howe", "2026-04-04", "2026-04-07", [24, 24.5, 24]),
        ("Australia/Lord_Howe", "2026-10-03", "2026-10-06", [24, 23.5, 24]),
        ("Asia/Kathmandu", "2026-10-24", "2026-10-26", [24, 24]),
    ],
)
def test_a_day_is_as_long_as_the_local_clock_makes_it(
    name: str, first: str, last: str, hours: list[float]
) -> None:
    assert lengths(first, last, name) == hours


@pytest.mark.parametrize(
    ("name", "first", "last", "days"),
    [
        ("Pacific/Apia", "2011-12-29", "2012-01-01", ["2011-12-29", "2011-12-31"]),
        ("Pacific/Kwajalein", "1993-08-20", "1993-08-23", ["1993-08-20", "1993-08-22"]),
    ],
)
def test_a_day_that_the_clock_jumps_over_has_no_bucket(
    name: str, first: str, last: str, days: list[str]
) -> None:
    start, end = (
        datetime.fromisoformat(day).replace(tzinfo=zone(name)).astimezone(UTC)
        for day in (first, last)
    )

    found = bounds(start, end, "1d", zone(name))

    assert [local(bound, name)[:10] for bound in found[:-1]] == days
    assert [later - earlier for earlier, later in pairwise(found)] == [DAY, DAY]


@pytest.mark.parametrize(
    ("name", "day", "opens"),
    [
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00"),
        ("Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"),
        ("Africa/Cairo", "2026-04-24", "2026-04-24T01:00:00+03:00"),
        # From 23:30 to 00:30, so that midnight lies within the jump.
        ("America/Toronto", "1919-03-31", "1919-03-31T00:30:00-04:00"),
    ],
)
def test_a_day_without_a_midnight_begins_when_the_clock_has_jumped(
    name: str, day: str, opens: str
) -> None:
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=zone(name))

    assert local(begin(noon.astimezone(UTC), "1d", zone(name)), name) == opens


@pytest.mark.parametrize(
    ("name", "day", "opens"),
    [
        # At one minute past midnight back to 23:01 of the day before.
        ("America/St_Johns", "2010-11-07", "2010-11-07T00:00:00-02:30"),
        ("America/Havana", "2024-11-03", "2024-11-03T00:00:00-04:00"),
    ],
)
def test_a_day_with_two_midnights_begins_with_the_first(name: str, day: str, opens: str) -> None:
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=zone(name))

    assert local(begin(noon.astimezone(UTC), "1d", zone(name)), name) == opens
    assert lengths(day, (date.fromisoformat(day) + DAY).isoformat(), name) == [25]


def test_an_hour_that_the_clock_goes_through_twice_is_two_buckets() -> None:
    assert cut("2026-10-24T23:00", "2026-10-25T02:00", "1h", "Europe/Berlin") == [
        "2026-10-25T01:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


def test_an_hour_that_the_clock_jumps_over_is_no_bucket() -> None:
    assert cut("2026-03-29T00:00", "2026-03-29T02:00", "1h", "Europe/Berlin") == [
        "2026-03-29T01:00:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T04:00:00+02:00",
    ]


def test_half_an_hour_back_makes_one_hour_longer_and_half_hours_as_long_as_ever() -> None:
    window = ("2026-04-04T14:00", "2026-04-04T16:30")

    assert cut(*window, "1h", "Australia/Lord_Howe") == [
        "2026-04-05T01:00:00+11:00",
        "2026-04-05T02:00:00+10:30",
        "2026-04-05T03:00:00+10:30",
    ]
    assert cut(*window, "30m", "Australia/Lord_Howe") == [
        "2026-04-05T01:00:00+11:00",
        "2026-04-05T01:30:00+11:00",
        "2026-04-05T01:30:00+10:30",
        "2026-04-05T02:00:00+10:30",
        "2026-04-05T02:30:00+10:30",
        "2026-04-05T03:00:00+10:30",
    ]


def test_hours_are_local_where_the_offset_is_no_whole_hour() -> None:
    assert cut("2026-10-24T05:00", "2026-10-24T06:00", "1h", "Asia/Kathmandu") == [
        "2026-10-24T10:00:00+05:45",
        "2026-10-24T11:00:00+05:45",
        "2026-10-24T12:00:00+05:45",
    ]


def test_weeks_start_on_monday_and_months_with_their_first() -> None:
    window = ("2026-10-24T00:00", "2026-11-03T00:00")

    assert cut(*window, "1w", "Europe/Berlin") == [
        "2026-10-19T00:00:00+02:00",
        "2026-10-26T00:00:00+01:00",
        "2026-11-02T00:00:00+01:00",
        "2026-11-09T00:00:00+01:00",
    ]
    assert cut(*window, "1mo", "Europe/Berlin") == [
        "2026-10-01T00:00:00+02:00",
        "2026-11-01T00:00:00+01:00",
        "2026-12-01T00:00:00+01:00",
    ]


def test_a_day_ago_the_clock_read_the_same() -> None:
    berlin = zone("Europe/Berlin")

    assert calendar.ago(utc("2026-10-25T23:00"), DAY, berlin) == utc("2026-10-24T22:00")
    assert calendar.ago(utc("2026-10-25T23:00"), 3 * DAY, berlin) == utc("2026-10-22T22:00")


# Where clocks did odd things, and everywhere and anytime else.
ODD = [
    ("Africa/Cairo", "2026-04-24"),
    ("America/Havana", "2024-11-03"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/St_Johns", "2010-03-14"),
    ("America/St_Johns", "2010-11-07"),
    ("Antarctica/Casey", "2010-03-05"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Asia/Beirut", "2026-03-29"),
    ("Asia/Kathmandu", "1986-01-01"),
    ("Asia/Pyongyang", "2018-05-05"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Chatham", "2026-04-05"),
    ("Pacific/Kwajalein", "1993-08-21"),
]
# Offsets of whole minutes alone: Monrovia's had seconds until 1972.
MOMENTS = st.integers(3 * 366 * 1440, 90 * 365 * 1440).map(lambda minutes: EPOCH + minutes * MINUTE)
ANYWHERE = st.tuples(st.sampled_from(sorted(calendar.NAMES)), MOMENTS)
SOMEWHERE_ODD = st.tuples(
    st.sampled_from(ODD), st.integers(-36 * 60, 36 * 60), st.integers(0, 59)
).map(
    lambda drawn: (
        drawn[0][0],
        utc(drawn[0][1]) + timedelta(minutes=drawn[1], seconds=drawn[2]),
    )
)


def wall(moment: datetime, place: ZoneInfo) -> datetime:
    return moment.astimezone(place).replace(tzinfo=None)


def floor(read: datetime, width: timedelta) -> datetime:
    return read - (read - EPOCH.replace(tzinfo=None)) % width


@given(st.one_of(ANYWHERE, SOMEWHERE_ODD), st.sampled_from([*USUAL]), st.integers(1, 100_000))
@settings(max_examples=300)
def test_buckets_are_contiguous_and_cover_the_window_and_no_more(
    where: tuple[str, datetime], bucket: str, minutes: int
) -> None:
    name, start = where
    end = start + minutes * (USUAL[bucket] / 1440)

    found = bounds(start, end, bucket, zone(name))

    assert all(earlier < later for earlier, later in pairwise(found))
    assert found[0] <= start < found[1]
    assert found[-2] < end <= found[-1]
    assert all(bound.tzinfo is UTC for bound in found)


@given(
    st.one_of(ANYWHERE, SOMEWHERE_ODD),
    st.sampled_from([*CLOCK]),
    st.integers(0, 2000),
    st.integers(1, 300),
)
@settings(max_examples=200)
def test_a_part_of_a_window_has_its_buckets(
    where: tuple[str, datetime], bucket: str, later: int, minutes: int
) -> None:
    name, start = where
    part = start + later * MINUTE
    end = part + minutes * MINUTE

    whole = bounds(start, end, bucket, zone(name))

    found = bounds(part, end, bucket, zone(name))
    assert found == whole[-len(found) :]


@given(st.one_of(ANYWHERE, SOMEWHERE_ODD), st.sampled_from([*CLOCK]))
@settings(max_examples=150)
def test_a_clock_s_bucket_begins_at_each_minute_that_is_one_of_its_or_after_a_jump_over_one(
    where: tuple[str, datetime], bucket: str
) -> None:
    name, start = where
    place, width, end = zone(name), CLOCK[bucket], start + 1.5 * DAY

    found = bounds(start, end, bucket, place)

    expected = []
    minute = found[0]
    while minute <= found[-1]:
        before, read = wall(minute - MINUTE, place), wall(minute, place)
        jumped = read - before > MINUTE and floor(read, width) > before
        if read == floor(read, width) or jumped:
            expected.append(minute)
        minute += MINUTE
    assert found == expected


@given(st.one_of(ANYWHERE, SOMEWHERE_ODD), st.sampled_from(["1d", "1w", "1mo"]))
@settings(max_examples=60)
@example(("America/St_Johns", utc("2010-11-07T03:00")), "1d")
def test_a_calendar_s_bucket_begins_with_the_first_minute_of_a_later_one(
    where: tuple[str, datetime], bucket: str
) -> None:
    name, start = where
    place = zone(name)

    def period(moment: datetime) -> date:
        day = wall(moment, place).date()
        return {
            "1d": day,
            "1w": day - timedelta(days=day.weekday()),
            "1mo": day.replace(day=1),
        }[bucket]

    found = bounds(start, start + 3 * DAY, bucket, place)

    expected = []
    latest = period(found[0] - MINUTE)
    minute = found[0]
    while minute <= found[-1]:
        if (now := period(minute)) > latest:
            latest = now
            expected.append(minute)
        # A month is long, and a day seldom begins between two quarters.
        minute += MINUTE if bucket == "1d" else timedelta(minutes=15)
    assert found == expected


def test_a_zone_is_the_packages_and_none_of_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("zoneinfo.TZPATH", (str(tmp_path),))
    calendar.zone.cache_clear()

    assert {str(zone(name)) for name in calendar.NAMES} == calendar.NAMES
    assert calendar.VERSION == tzdata.IANA_VERSION


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "europe/berlin", "../../etc/passwd", "Europe", "Europe/Berlin\0"]
)
def test_what_is_no_zone_is_not_looked_for(name: str) -> None:
    with pytest.raises(KeyError):
        zone(name)
