"""Readings that come by MQTT and NATS: the consumer, and the dead letters."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import click

from fleetwatt.config import Config, ConfigError
from fleetwatt.database.client import Database

if TYPE_CHECKING:
    from fleetwatt.messaging.consumer import Consumer

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
