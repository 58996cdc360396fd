"""Readings by MQTT and NATS, from real devices through a real nats-server to the database."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from psycopg2.extensions import connection as Connection

from fleetwatt.messaging import names
from tests.conftest import rows
from tests.examples import Reading, ago, meter, vehicle
from tests.messaging.conftest import Broker, Consume, Device, device
from tests.waiting import eventually


@pytest.fixture
def sender(broker: Broker) -> Iterator[Device]:
    with device(broker.port) as connected:
        yield connected


def stored(sql: Connection, table: str = "meter_telemetry") -> list[tuple[str, float]]:
    column = "kwh_consumed_ac" if table.startswith("meter") else "kwh_delivered_dc"
    key = "meter_id" if table.startswith("meter") else "vehicle_id"
    return rows(sql, f"SELECT {key}, {column} FROM {table} ORDER BY 1, 2")


class SlowAcks:
    """A way to NATS on which a client's words may be held back; what NATS says always passes."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = port
        self._flows = threading.Event()
        self._flows.set()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._listener.getsockname()[1]}"

    def hold(self) -> None:
        self._flows.clear()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, target, held in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass, args=(source, target, held), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, target: socket.socket, held: bool) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65_536):
                if held:
                    self._flows.wait()
                target.sendall(data)


@pytest.fixture
def slow_acks(broker: Broker) -> Iterator[SlowAcks]:
    way = SlowAcks(int(broker.url.rpartition(":")[2]))
    yield way
    way.close()


def settled(broker: Broker) -> bool:
    """Whether every message is acknowledged."""
    states = broker.streams()
    return all(states[name].messages == 0 for name in (names.MQTT, names.READINGS))


def dump(*readings: Reading) -> bytes:
    return json.dumps(readings[0] if len(readings) == 1 else readings).encode()


def test_what_devices_publish_is_stored(
    broker: Broker, consume: Consume, sender: Device, sql: Connection
) -> None:
    consume()
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()))
    sender.send("fleetwatt/v1/vehicle/V-999", dump(vehicle()))
    sender.send("fleetwatt/v1/meter/M.1", dump(meter(meterId="M.1")))
    sender.send("fleetwatt/v1/meter/a%2Bb", dump(meter(meterId="a+b")))
    sender.send(
        "fleetwatt/v1/meter/M-2",
        dump(meter(meterId="M-2"), meter(meterId="M-2", timestamp=ago(minutes=2))),
    )

    eventually(lambda: len(stored(sql)) == 5 and settled(broker), "they are not stored")
    assert {name for name, _ in stored(sql)} == {"M-123", "M.1", "a+b", "M-2"}
    assert stored(sql, "vehicle_telemetry") == [("V-999", 850.2)]


def test_what_has_no_quality_of_service_is_stored_while_a_consumer_listens(
    consume: Consume, sender: Device, sql: Connection
) -> None:
    consume()
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()), qos=0)

    eventually(lambda: stored(sql) == [("M-123", 1050.5)], "it is not stored")


def test_what_clients_of_nats_publish_is_stored(
    broker: Broker, consume: Consume, sql: Connection
) -> None:
    consume()
    with broker.link() as link:
        link.publish("fleetwatt.readings.meter.M-123", dump(meter()), {})
        link.publish("fleetwatt.readings.any", dump(meter(meterId="M-2"), vehicle()), {})

    eventually(lambda: len(stored(sql)) == 2 and settled(broker), "they are not stored")
    assert stored(sql, "vehicle_telemetry") == [("V-999", 850.2)]


def test_what_tasmota_publishes_as_it_comes_is_stored(
    consume: Consume, sender: Device, sql: Connection
) -> None:
    consume()
    sender.send("tele/plug_1/SENSOR", b'{"ENERGY":{"Total":7.5,"Voltage":230}}', qos=0)
    sender.send("tele/plug_2/SENSOR", b'{"ENERGY":{"Total":8.5,"Voltage":230}}')

    eventually(lambda: len(stored(sql)) == 2, "it is not stored")
    assert stored(sql) == [("plug_1", 7.5), ("plug_2", 8.5)]


def test_a_reading_of_another_device_than_the_topics_is_not_stored(
    broker: Broker, consume: Consume, sender: Device, sql: Connection
) -> None:
    consume()
    sender.send("fleetwatt/v1/meter/M-1", dump(meter(meterId="M-1"), meter(meterId="M-2")))

    eventually(lambda: len(stored(sql)) == 1 and settled(broker), "the other is not stored")
    assert stored(sql) == [("M-1", 1050.5)]


@pytest.mark.parametrize(
    "poison",
    [b"", b"\xff\x00", b"[" * 100_000, b'{"meterId":', b"[]", b"1", b'[{"meterId":"M-1"},7]'],
    ids=["nothing", "bytes", "deep", "cut", "empty", "a number", "items"],
)
def test_a_message_that_is_no_reading_keeps_no_other_from_being_stored(
    broker: Broker, consume: Consume, sender: Device, sql: Connection, poison: bytes
) -> None:
    consume()
    before = broker.streams()[names.DEAD].messages
    sender.send("fleetwatt/v1/meter/M-1", poison)
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()))

    eventually(lambda: bool(stored(sql)) and settled(broker), "the next is not stored")
    assert stored(sql) == [("M-123", 1050.5)]
    assert broker.streams()[names.DEAD].messages == before + 1


def test_a_message_that_comes_twice_is_stored_once(
    broker: Broker, consume: Consume, sender: Device, sql: Connection
) -> None:
    consume()
    before = broker.streams()[names.DEAD].messages
    for _ in range(3):
        sender.send("fleetwatt/v1/meter/M-123", dump(meter()))

    eventually(lambda: bool(stored(sql)) and settled(broker), "it is not stored")
    assert stored(sql) == [("M-123", 1050.5)]
    assert broker.streams()[names.DEAD].messages == before


def test_what_comes_while_no_consumer_runs_is_kept_for_the_next(
    consume: Consume, sender: Device, sql: Connection
) -> None:
    assert consume().stop() == 0
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()))
    assert stored(sql) == []

    consume()

    eventually(lambda: stored(sql) == [("M-123", 1050.5)], "it is not stored")


def test_two_consumers_share_the_messages_and_store_each_once(
    broker: Broker, consume: Consume, sender: Device, sql: Connection
) -> None:
    consume()
    consume()
    with broker.link() as link:
        assert link.consumers() == 2
    sent = [
        sender.publish(f"fleetwatt/v1/meter/M-{n}", dump(meter(meterId=f"M-{n}")))
        for n in range(500)
    ]
    for message in sent:
        message.wait_for_publish(60)

    eventually(lambda: len(stored(sql)) == 500 and settled(broker), "not all are stored")


def test_what_a_killed_server_acknowledged_is_stored_once_it_is_back(
    broker: Broker, consume: Consume, sender: Device, sql: Connection
) -> None:
    consume().stop()
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()))
    broker.kill()
    broker.start()
    consume()

    eventually(lambda: stored(sql) == [("M-123", 1050.5)], "it is not stored")


def test_a_consumer_goes_on_after_the_server_was_killed(
    broker: Broker, consume: Consume, sender: Device, sql: Connection
) -> None:
    consumer = consume()
    broker.kill()
    broker.start()
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()))

    eventually(lambda: bool(stored(sql)) and settled(broker), "it is not stored")
    assert consumer.process.poll() is None


def test_a_consumer_that_is_killed_between_commit_and_acknowledgement_loses_and_repeats_nothing(
    broker: Broker, consume: Consume, sender: Device, sql: Connection, slow_acks: SlowAcks
) -> None:
    killed = consume(FLEETWATT_NATS_URL=slow_acks.url)
    slow_acks.hold()
    sender.send("fleetwatt/v1/meter/M-123", dump(meter()))
    eventually(lambda: bool(stored(sql)), "it is not committed")
    killed.kill()
    assert not settled(broker)

    consume()
    sender.send("fleetwatt/v1/meter/M-2", dump(meter(meterId="M-2")))

    eventually(lambda: settled(broker), "it does not come again")
    assert stored(sql) == [("M-123", 1050.5), ("M-2", 1050.5)]
