"""The command that sends the readings of a simulated fleet."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec

from fleetwatt.config import Config
from fleetwatt.ingestion.split import MAX_READINGS
from fleetwatt.simulation.plan import Plan
from fleetwatt.times import (
    MINUTE,
    NoOffset,
    format_minute,
    minute_of,
    parse_duration,
    parse_time,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetwatt.simulation.client import Client
    from fleetwatt.simulation.fleet import Known
    from fleetwatt.simulation.sending import Run, Sender

COLUMNS = (
    *("made", "lost", "late", "repeated", "sent", "accepted", "duplicates", "rejected"),
    *("unanswered", "retries", "unsure"),
)
_COUNT = click.IntRange(min=1)
_SHARE = click.FloatRange(0, 0.5)
_say = partial(click.echo, err=True)


def _moment(
    context: click.Context, parameter: click.Parameter, value: str | None, sign: int
) -> datetime | None:
    """Read a duration, from now on (1) or back (-1), or a time; in whole minutes."""
    if value is None:
        return None
    try:
        moment = datetime.now(UTC) + sign * parse_duration(value, least=MINUTE)
    except ValueError as no_duration:
        return minute_of(_time(value, no_duration))
    # The command has to know of a start whether it was named or counted back.
    context.meta[f"{__name__}.{parameter.name}"] = True
    return minute_of(moment)


def _time(value: str, no_duration: ValueError) -> datetime:
    try:
        return parse_time(value)
    except NoOffset as no_offset:
        raise click.BadParameter(str(no_offset)) from None
    except ValueError:
        raise click.BadParameter(f"{no_duration}; nor is it an RFC 3339 time") from None


def _url(_: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return value
    except ValueError:  # the port is none
        pass
    raise click.BadParameter(f"{value!r} is not the address of an API, as http://127.0.0.1:8000")


@click.command()
@click.option(
    "--url",
    default=lambda: f"http://{Config.from_environment().netloc}",
    show_default="FLEETWATT_HOST and FLEETWATT_PORT on this machine",
    callback=_url,
    help="address of the API",
)
@click.option(
    "--api-key", envvar="FLEETWATT_API_KEY", show_envvar=True, help="sent as a bearer token"
)
@click.option("--vehicles", type=_COUNT, default=100, show_default=True, help="how many there are")
@click.option(
    "--meters", type=_COUNT, show_default="as many as vehicles", help="with fewer, some are shared"
)
@click.option(
    "--since",
    callback=partial(_moment, sign=-1),
    show_default="now",
    help="backfill from then: a duration back from now, as 26h or 7d, or an RFC 3339 time",
)
@click.option(
    "--until",
    callback=partial(_moment, sign=1),
    show_default="now after a backfill, else Ctrl-C",
    help="stop then: a duration from now on, or an RFC 3339 time",
)
@click.option("--live", is_flag=True, help="after a backfill, go on in real time until Ctrl-C")
@click.option("--seed", default="1", show_default=True, help="makes the same readings again")
@click.option(
    "--loss", type=_SHARE, default=Plan.loss, show_default=True, help="share of readings lost"
)
@click.option(
    "--late",
    type=_SHARE,
    default=Plan.late,
    show_default=True,
    help="share that outages hold back, and that come late and in no order",
)
@click.option(
    "--repeat", type=_SHARE, default=Plan.repeat, show_default=True, help="share sent twice"
)
@click.option(
    "--replaced",
    type=click.FloatRange(0, 24),
    default=Plan.replaced,
    show_default=True,
    help="share of the meters replaced in a day",
)
@click.option(
    "--moved",
    type=click.FloatRange(0, 24),
    default=Plan.moved,
    show_default=True,
    help="share of the vehicles that change meters in a day",
)
@click.option(
    "--batch",
    type=click.IntRange(1, MAX_READINGS),
    default=1000,
    show_default=True,
    help="readings in a request, at most",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    help="requests under way at once",
)
@click.option(
    "--patience",
    type=click.FloatRange(0, 86_400),
    default=120,
    show_default=True,
    help="seconds for which a request is retried before giving up",
)
@click.option("--json", "as_json", is_flag=True, help="print the account as one JSON object")
def simulate(**options: Any) -> None:
    """Send the readings of a simulated fleet to an API.

    With --since it sends all readings from then on; without it, a reading per device a minute in
    real time. A fleet continues from what is stored of it, unless readings are stored after the
    start. At the end it prints what it sent and what the API acknowledged. The exit status is 1 if
    it gave up or a reading was rejected.
    """
    try:
        from fleetwatt.simulation import client, sending
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing; install fleetwatt with its extra: fleetwatt[simulate]"
        ) from None
    plan, end = _planned(options)
    counted_back = f"{__name__}.since" in click.get_current_context().meta
    api = client.Client(
        options["url"],
        api_key=options["api_key"] or "",
        connections=options["connections"],
        patience=options["patience"],
        say=_say,
    )
    sender = sending.Sender(api, connections=options["connections"], batch_size=options["batch"])
    try:
        plan, known = _continued(api, plan, end, counted_back=counted_back)
        run = sending.Run(plan, end, sender, known)
    except client.SendingFailed as error:
        api.close()
        raise click.ClickException(str(error)) from None
    _say(
        f"{plan.vehicles:,} vehicles on {plan.meters:,} meters, "
        f"from {format_minute(plan.start)} on, to {api.url}"
    )
    failure = ""
    try:
        _send(run, sender, _minutes(plan, end))
    except client.SendingFailed as error:
        failure = str(error)
    except KeyboardInterrupt:
        failure = "stopped before all was sent"
    report = run.report() | {"failure": failure or None}
    _say_account(report, as_json=options["as_json"])
    if failure:
        _say(f"fleetwatt: {failure}")
    sys.exit(int(bool(failure or report["firstError"])))


def _continued(
    api: Client, plan: Plan, end: datetime | None, *, counted_back: bool
) -> tuple[Plan, Known | None]:
    """Ask what is stored of the fleet, and plan to go on from there.

    A start that is counted back from now says how much history there is to be: what is stored of
    it already is not sent again. A start that is named may be of the very run that sent it.

    Returns:
        The plan, and the readings from which the fleet goes on; None: from none, which it says.
    """
    from fleetwatt.simulation.client import NotAllowed
    from fleetwatt.simulation.known import may_be_continued, newest_of, newest_readings

    try:
        known = newest_readings(api)
    except NotAllowed:
        _say("The key may not read what is stored: counters start at values of their own.")
        return plan, None
    if counted_back and not may_be_continued(known, plan):
        start = newest_of(known) + MINUTE
        if end and start > end:
            start = end
        _say(
            f"Readings up to {format_minute(newest_of(known))} are stored already: going on after "
            "them. To send over them, name the start as a time."
        )
        plan = replace(plan, start=start)
    if not may_be_continued(known, plan):
        _say(
            f"Readings after {format_minute(plan.start)} are stored already: unless they are of "
            "this very run, counters will not fit. Without --since a run continues from them."
        )
        return plan, None
    if known:
        _say(f"Going on from the newest readings of {len(known):,} devices.")
    return plan, known


def _planned(options: dict[str, Any]) -> tuple[Plan, datetime | None]:
    now = minute_of(datetime.now(UTC))
    start, end = options["since"] or now, options["until"]
    if end is None and options["since"] and not options["live"]:
        end = now
    if start > now:
        raise click.BadParameter(
            f"{format_minute(start)} lies in the future: name an earlier time", param_hint="--since"
        )
    if end and end <= start:
        raise click.BadParameter(
            f"{format_minute(end)} is less than a minute after the start, {format_minute(start)}",
            param_hint="--until" if options["until"] else "--since",
        )
    shares = {name: options[name] for name in ("loss", "late", "repeat", "replaced", "moved")}
    plan = Plan(
        vehicles=options["vehicles"],
        meters=options["meters"] or options["vehicles"],
        start=start,
        seed=options["seed"],
        **shares,
    )
    return plan, end


def _send(run: Run, sender: Sender, minutes: int | None) -> None:
    with _stoppable(run), sender:
        for _ in _watched(run.minutes(), minutes):
            pass
        run.finish()


@contextmanager
def _stoppable(run: Run) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a run in order; a second one ends it at once."""

    def stop(number: int, _: Any) -> None:
        _say("Sending what is under way; Ctrl-C again gives it up.")
        run.stop()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _minutes(plan: Plan, end: datetime | None) -> int | None:
    return (end - plan.start) // MINUTE if end else None


def _watched(minutes: Iterable[datetime], total: int | None) -> Iterator[datetime]:
    """Show how far it is: a bar on a terminal, else a line for each tenth, or each minute."""
    if total and sys.stderr.isatty():
        with click.progressbar(minutes, length=total, file=sys.stderr, show_pos=True) as bar:
            yield from bar
        return
    started = time.monotonic()
    step = max(1, (total or 1) // 10)
    for count, minute in enumerate(minutes, start=1):
        if count % step == 0 or count == total:
            of = f"{count} of {total} minutes" if total else f"{count} minutes"
            _say(f"  {format_minute(minute)}  {of}, {time.monotonic() - started:.0f} s")
        yield minute


def _say_account(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    streams = report["streams"]
    click.echo(f"{'readings':12}" + "".join(f"{name:>12}" for name in streams))
    for column in COLUMNS:
        click.echo(
            f"{column:12}" + "".join(f"{account[column]:>12,}" for account in streams.values())
        )
    counts = ", ".join(f"{count:,} {name}" for name, count in report["mappings"].items())
    click.echo(f"mappings: {counts}; meters replaced: {report['replacedMeters']:,}")
    click.echo(
        f"seed {report['seed']}, from {format_minute(report['start'])} "
        f"to before {format_minute(report['end'])}"
    )
    if report["mappings"]["conflicts"]:
        click.echo(
            "conflicts: an earlier run has mapped the vehicle from a later time on; that stays"
        )
    if report["firstError"]:
        click.echo(f"first error: {report['firstError']}")
