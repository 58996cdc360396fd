"""The policies by which the database drops, compresses and refreshes, and the rules between them.

Only the database knows them, so each question reads them. A change is planned here, checked against
the rules, and made by one statement, as a whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fleetwatt.database.errors import NotInEdition, PolicyRejected
from fleetwatt.streams import STREAMS, Stream
from fleetwatt.times import DAY, HOUR, format_duration, format_minute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetwatt.database.client import Database
    from fleetwatt.database.pool import Row

# A refresh of dropped raw erases the aggregate (timescaledb#2198): it stays this far inside.
MARGIN = DAY
BUCKET = HOUR
# TimescaleDB rejects a refresh window of less than two buckets.
LEAST_WINDOW = 2 * BUCKET
TABLES = {table: stream for stream in STREAMS for table in (stream.history, stream.hourly)}
HISTORIES = {stream.history: stream for stream in STREAMS}


@dataclass(frozen=True, kw_only=True)
class Policies:
    """The policies of one stream's tables.

    Attributes:
        materialized: Whether the hourly aggregate is stored, or a view that ends with raw.
        keep_raw, keep_hourly: How long they are kept; None: for ever.
        guarded: Whether raw is dropped by the job that refreshes its aggregate first.
        compress_after: Age at which chunks become columnstore; None: never.
        refreshed: Whether a policy refreshes the aggregate.
        refresh_from, refresh_to: Ages between which it does; None: without a bound.
        gone_before: The time before which the aggregate is all that is left.
    """

    stream: Stream
    materialized: bool = True
    keep_raw: timedelta | None = None
    keep_hourly: timedelta | None = None
    guarded: bool = True
    compress_after: timedelta | None = None
    refreshed: bool = False
    refresh_from: timedelta | None = None
    refresh_to: timedelta | None = None
    gone_before: datetime | None = None

    def with_retention(self, table: str, keep: timedelta | None, now: datetime) -> Policies:
        """Return the policies with a table kept for `keep`; the refresh window follows raw.

        The window reaches as far back as late readings are accepted, less the margin. Into what was
        dropped it reaches no farther than before.
        """
        if table == self.stream.hourly:
            return replace(self, keep_hourly=keep)
        window = self.refresh_from
        if keep is not None and self.refreshed:
            reach = keep - MARGIN
            if self.gone_before is not None and window is not None:
                whole = (now - self.gone_before) // BUCKET * BUCKET
                reach = min(reach, max(whole, window))
            window = reach
        return replace(self, keep_raw=keep, refresh_from=window, guarded=True)


@dataclass(frozen=True)
class Breach:
    """A rule that does not hold: its name, the table, and what is wrong there."""

    rule: str
    table: str
    message: str


def read(database: Database) -> dict[Stream, Policies]:
    """Return the policies of each stream."""
    server = database.query_one("server")
    materialized = server is not None and server["edition"] != "apache"
    rows = {(row["table_name"], row["kind"]): row for row in database.query("policies")}
    return {stream: _policies(database, stream, rows, materialized) for stream in STREAMS}


def _policies(
    database: Database, stream: Stream, rows: dict[tuple[str, str], Row], materialized: bool
) -> Policies:
    nothing = {"after": None, "start_offset": None, "end_offset": None, "guarded": True}
    retention = rows.get((stream.history, "retention"), nothing)
    refresh = rows.get((stream.hourly, "refresh"), nothing)
    gone = database.query_one(f"{stream.name}.gone_before") if materialized else None
    return Policies(
        stream=stream,
        materialized=materialized,
        keep_raw=retention["after"],
        keep_hourly=rows.get((stream.hourly, "retention"), nothing)["after"],
        guarded=retention["guarded"],
        compress_after=rows.get((stream.history, "compression"), nothing)["after"],
        refreshed=refresh is not nothing,
        refresh_from=refresh["start_offset"],
        refresh_to=refresh["end_offset"],
        gone_before=gone["gone_before"] if gone else None,
    )


def breaches(policies: Policies, lateness: timedelta, now: datetime) -> Iterator[Breach]:
    """Yield the rules that do not hold of one stream."""
    if policies.materialized:
        yield from _of_retention(policies)
        yield from _of_refresh(policies, now)
    history, after = policies.stream.history, policies.compress_after
    if after is not None and after < lateness:
        yield Breach(
            "compressed-after-lateness",
            history,
            f"{history} is compressed after {format_duration(after)}, while late readings are "
            f"common for {format_duration(lateness)} (FLEETWATT_LATENESS): "
            f"{format_duration(lateness)} at least",
        )


def _of_retention(policies: Policies) -> Iterator[Breach]:
    history, hourly = policies.stream.history, policies.stream.hourly
    raw, aggregate = policies.keep_raw, policies.keep_hourly
    if aggregate is not None and (raw is None or aggregate < raw):
        kept = "for ever" if raw is None else format_duration(raw)
        legal = (
            f"{format_duration(aggregate)} at most for {history}, or no retention for {hourly}"
            if raw is None
            else f"{format_duration(raw)} at least for {hourly}, "
            f"{format_duration(aggregate)} at most for {history}"
        )
        yield Breach(
            "aggregate-outlives-raw",
            hourly,
            f"{hourly} is kept {format_duration(aggregate)}, its raw readings {kept}: {legal}",
        )
    least = MARGIN + (policies.refresh_to or timedelta(0)) + LEAST_WINDOW
    if raw is not None and raw < least:
        yield Breach(
            "materialized-before-dropped",
            history,
            f"{history} is kept {format_duration(raw)}, too short for its readings to be "
            f"refreshed into {hourly} first: {format_duration(least)} at least",
        )
    if raw is not None and not policies.guarded:
        yield Breach(
            "refreshed-before-dropped",
            history,
            f"{history} is dropped by a plain retention policy, which loses late readings that "
            f"{hourly} does not have yet: "
            f"run `fleetwatt retention set {history} {format_duration(raw)}`",
        )


def _of_refresh(policies: Policies, now: datetime) -> Iterator[Breach]:
    history, hourly = policies.stream.history, policies.stream.hourly
    raw, window = policies.keep_raw, policies.refresh_from
    reach = "for ever" if window is None else format_duration(window)
    if not policies.refreshed:
        yield Breach(
            "refreshed",
            hourly,
            f"{hourly} is refreshed by no policy: add_continuous_aggregate_policy() adds one",
        )
        return
    if raw is not None and (window is None or window > raw - MARGIN):
        yield Breach(
            "refresh-inside-raw",
            hourly,
            f"the refresh of {hourly} reaches back {reach}, into raw readings that are dropped "
            f"after {format_duration(raw)}, and would erase what it finds gone: "
            f"{format_duration(max(raw - MARGIN, LEAST_WINDOW))} at most",
        )
    gone = policies.gone_before
    if gone is not None and (window is None or now - window < gone):
        yield Breach(
            "refresh-after-dropped",
            hourly,
            f"the refresh of {hourly} reaches back {reach}, into what was dropped of {history} "
            f"before {format_minute(gone)}, and would erase what only it has: "
            f"{format_duration((now - gone) // BUCKET * BUCKET)} at most",
        )


# Rules that a command may not break; `fleetwatt db status` warns of the others.
RETENTION_RULES = {"aggregate-outlives-raw", "materialized-before-dropped", "refresh-inside-raw"}
COMPRESSION_RULES = {"compressed-after-lateness"}


def plan_retention(
    database: Database, table: str, keep: timedelta | None
) -> tuple[Policies, Policies]:
    """Return what is and what would be, if a table were kept so long; None: for ever.

    Raises:
        PolicyRejected: A rule would be broken.
        NotInEdition: The table is a view here.
    """
    before = read(database)[TABLES[table]]
    if table not in HISTORIES and not before.materialized:
        raise NotInEdition(
            f"{table} is a view on TimescaleDB's Apache edition: it ends with its raw readings, "
            f"in {before.stream.history}"
        )
    now = datetime.now(UTC)
    after = before.with_retention(table, keep, now)
    _reject_breaches(after, RETENTION_RULES, database.lateness, now)
    return before, after


def set_retention(database: Database, table: str, plan: Policies) -> None:
    """Make a planned change; late readings that would be dropped soon are refreshed first."""
    raw = table in HISTORIES
    keep = plan.keep_raw if raw else plan.keep_hourly
    if raw and keep is not None:
        database.settle(plan.stream, keep)
    refresh_from = plan.refresh_from if raw else None
    database.execute_once("set_retention", table=table, keep=keep, refresh_from=refresh_from)


def plan_compression(
    database: Database, table: str, after: timedelta | None
) -> tuple[Policies, Policies]:
    """Return what is and what would be, if a table's chunks were compressed so late; None: never.

    Raises:
        PolicyRejected: A rule would be broken.
        NotInEdition: There is no columnstore.
    """
    before = read(database)[TABLES[table]]
    if not before.materialized:
        raise NotInEdition("TimescaleDB's Apache edition has no columnstore to compress into")
    planned = replace(before, compress_after=after)
    _reject_breaches(planned, COMPRESSION_RULES, database.lateness, datetime.now(UTC))
    return before, planned


def _reject_breaches(
    planned: Policies, rules: set[str], lateness: timedelta, now: datetime
) -> None:
    broken = [breach for breach in breaches(planned, lateness, now) if breach.rule in rules]
    if broken:
        raise PolicyRejected(
            "; ".join(f"{breach.message} (rule {breach.rule})" for breach in broken)
        )
