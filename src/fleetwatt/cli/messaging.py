"""Readings that come by MQTT and NATS: the consumer, and the dead letters."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import click
import msgspec

from fleetwatt.cli import output
from fleetwatt.config import Config, ConfigError
from fleetwatt.database.client import Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fleetwatt.messaging.consumer import Consumer
    from fleetwatt.messaging.dead_letters import DeadLetter
    from fleetwatt.messaging.link import JetStream

log = logging.getLogger(__name__)


@click.command()
def consume() -> None:
    """Store what devices publish by MQTT and clients of NATS.

    From the NATS that FLEETWATT_NATS_URL names into the database that FLEETWATT_DATABASE_URL
    names. Several may run at once, on one host or on several: they share the messages.
    """
    from fleetwatt.messaging.consumer import Consumer
    from fleetwatt.messaging.store import Store

    config = _config(Config.of_a_database())
    database = Database(config)
    try:
        store = Store(database, ignore_unknown=config.unknown_fields == "ignore")
        asyncio.run(_until_stopped(Consumer(config, store)))
    finally:
        database.close()


def _config(config: Config) -> Config:
    if not config.nats_url:
        raise ConfigError(
            "set FLEETWATT_NATS_URL to the URL of NATS; `make run MQTT=1883` prints one"
        )
    return config


async def _until_stopped(consumer: Consumer) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, consumer.stop)
    await consumer.run(lambda: log.info("consuming"))


@click.group()
def dead_letters() -> None:
    """Look after messages with rejected readings.

    They can be listed, published again or dropped.
    """


@dead_letters.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="print them as JSON, a line each")
def list_letters(*, as_json: bool) -> None:
    """List the dead letters, the oldest first.

    Each has its number, its subject, and what is wrong with its readings.
    """

    async def show(jetstream: JetStream) -> None:
        from fleetwatt.messaging import dead_letters as letters

        count = 0
        async for dead in letters.read(jetstream):
            count += 1
            click.echo(_as_json(dead) if as_json else _in_words(dead))
        if not count and not as_json:
            click.echo("There are no dead letters.")

    _with_jetstream(show)


@dead_letters.command()
@click.argument("numbers", type=int, nargs=-1)
@click.option("--all", "whole", is_flag=True, help="all dead letters that are there now")
@output.JSON
def retry(numbers: tuple[int, ...], *, whole: bool, as_json: bool) -> None:
    """Publish the messages of dead letters again.

    It helps after a clock was mended or a mapping corrected.
    What is stored already is a duplicate then; what is rejected again is a new dead letter.
    """

    async def again(jetstream: JetStream) -> None:
        from fleetwatt.messaging import dead_letters as letters

        for dead in await _chosen(jetstream, numbers, whole=whole):
            if dead.letter.truncated:
                click.echo(f"{dead.number} is only a part of a message: it stays", err=True)
                continue
            await letters.retry(jetstream, dead)
            published.append(dead.number)
            click.echo(f"{dead.number} is published again", err=True)

    published: list[int] = []
    _with_jetstream(again)
    if as_json:
        output.echo_json({"published": published})


@dead_letters.command()
@click.argument("numbers", type=int, nargs=-1)
@click.option("--all", "whole", is_flag=True, help="all dead letters that are there now")
@output.JSON
def drop(numbers: tuple[int, ...], *, whole: bool, as_json: bool) -> None:
    """Remove dead letters for good."""

    async def remove(jetstream: JetStream) -> None:
        from fleetwatt.messaging import dead_letters as letters

        for dead in await _chosen(jetstream, numbers, whole=whole):
            await letters.drop(jetstream, dead.number)
            dropped.append(dead.number)
            click.echo(f"{dead.number} is dropped", err=True)

    dropped: list[int] = []
    _with_jetstream(remove)
    if as_json:
        output.echo_json({"dropped": dropped})


async def _chosen(
    jetstream: JetStream, numbers: tuple[int, ...], *, whole: bool
) -> list[DeadLetter]:
    from fleetwatt.messaging import dead_letters as letters

    if bool(numbers) == whole:
        raise click.UsageError("name the numbers of dead letters, or --all")
    found = [dead async for dead in letters.read(jetstream)]
    if whole:
        return found
    known = {dead.number: dead for dead in found}
    if missing := [str(number) for number in numbers if number not in known]:
        raise click.ClickException(f"there is no dead letter {', '.join(missing)}")
    return [known[number] for number in numbers]


def _as_json(dead: DeadLetter) -> str:
    document = {
        "number": dead.number,
        "subject": dead.letter.subject,
        "received": dead.letter.received,
        "errors": dead.letter.errors,
        "errorsOmitted": dead.letter.errors_omitted,
        "truncated": dead.letter.truncated,
        "payload": dead.payload.decode(errors="replace"),
    }
    return msgspec.json.encode(document).decode()


def _in_words(dead: DeadLetter) -> str:
    lines = [f"{dead.number}  {dead.letter.received}  {dead.letter.subject}"]
    for fault in dead.letter.errors:
        where = "all of it" if fault.index is None else f"reading {fault.index}"
        lines.append(f"    {where}{f', {fault.field}' if fault.field else ''}: {fault.message}")
    if dead.letter.errors_omitted:
        lines.append(f"    and {dead.letter.errors_omitted} more")
    return "\n".join(lines)


def _with_jetstream(work: Callable[[JetStream], Awaitable[None]]) -> None:
    """Do work on the JetStream of FLEETWATT_NATS_URL."""
    from fleetwatt.messaging.link import with_jetstream

    asyncio.run(with_jetstream(_config(Config.from_environment()).nats_url, work))
