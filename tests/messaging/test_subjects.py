"""What a topic says of its readings, and which topics name a device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetwatt.messaging import adapters
from fleetwatt.messaging.subjects import (
    MQTT_PREFIX,
    Ignored,
    Source,
    source_of,
    tokens_of,
    topic_of,
)
from fleetwatt.streams import ID_PATTERN, METER, STREAMS, VEHICLE


def subject_of(topic: str) -> str:
    """What NATS makes of an MQTT topic."""
    return topic.replace(".", "//").replace("/", ".").replace("..", "//")


@pytest.mark.parametrize(
    ("subject", "source"),
    [
        ("fleetwatt.v1.meter.M-1", Source((METER,), "M-1")),
        (f"{MQTT_PREFIX}fleetwatt.v1.vehicle.V-1", Source((VEHICLE,), "V-1")),
        ("fleetwatt.v1.meter.M//1", Source((METER,), "M.1")),
        ("fleetwatt.v1.meter.M%2E1%2b2", Source((METER,), "M.1+2")),
        ("fleetwatt.v1.meter.DE*ABC*E123", Source((METER,), "DE*ABC*E123")),
        ("fleetwatt.v1.meter", Source((METER,))),
        ("fleetwatt.v1", Source(STREAMS)),
        ("fleetwatt.readings.any", Source(STREAMS)),
        ("fleetwatt.readings.vehicle", Source((VEHICLE,))),
        ("fleetwatt.readings.vehicle.V-1", Source((VEHICLE,), "V-1")),
    ],
)
def test_a_subject_names_the_streams_and_the_device(subject: str, source: Source) -> None:
    assert source_of(subject) == source


@pytest.mark.parametrize(
    ("subject", "device", "adapter"),
    [
        ("tele.tasmota_0C2F.SENSOR", "tasmota_0C2F", adapters.tasmota),
        ("fleetwatt.tasmota.tele.M-1.SENSOR", "M-1", adapters.tasmota),
        ("fleetwatt.shelly.M-1.status.switch:0", "M-1", adapters.shelly),
        ("fleetwatt.shelly.M-1.status.emdata:1", "M-1:1", adapters.shelly),
        ("fleetwatt.ocpp.CP%2E1", "CP.1", adapters.ocpp),
        ("fleetwatt.readings.retried.tele.M-1.SENSOR", "M-1", adapters.tasmota),
    ],
)
def test_what_devices_publish_of_their_own_accord_is_adapted(
    subject: str, device: str, adapter: adapters.Adapter
) -> None:
    assert source_of(subject) == Source((METER,), device, adapter)


@pytest.mark.parametrize(
    "subject", ["fleetwatt.tasmota.tele.M-1.STATE", "fleetwatt.shelly.M-1.status.wifi"]
)
def test_what_such_devices_publish_besides_is_ignored(subject: str) -> None:
    assert isinstance(source_of(subject), Ignored)


@pytest.mark.parametrize(
    "subject",
    [
        "fleetwatt.v1.charger.C-1",
        "fleetwatt.v1.meter.M-1.more",
        "fleetwatt.v2.meter.M-1",
        "fleetwatt.meter.M-1",
        "meter.M-1",
    ],
)
def test_no_readings_are_expected_under_another_subject(subject: str) -> None:
    assert source_of(subject) is None


@given(st.from_regex(ID_PATTERN, fullmatch=True))
def test_every_id_has_a_topic_that_mqtt_allows_and_that_names_it(device: str) -> None:
    topic = topic_of(METER, device)

    assert not {"+", "#"} & set(topic)
    assert source_of(subject_of(topic)) == Source((METER,), device)


@given(st.from_regex(ID_PATTERN, fullmatch=True))
def test_each_token_for_a_device_names_it_and_no_other(device: str) -> None:
    for token in tokens_of(device):
        assert "." not in token
        assert source_of(f"fleetwatt.v1.meter.{token}") == Source((METER,), device)
