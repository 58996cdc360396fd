"""The code of docs/how-to/mqtt.md makes a device, whose reading NATS and a consumer store."""

from __future__ import annotations

import re
from typing import Any

from psycopg2.extensions import connection as Connection

from tests.conftest import rows
from tests.messaging.conftest import Broker, Consume
from tests.recipes import ROOT
from tests.waiting import eventually


def test_the_device_of_the_page_on_mqtt_stores_its_reading(
    broker: Broker, consume: Consume, sql: Connection
) -> None:
    page = (ROOT / "docs" / "how-to" / "mqtt.md").read_text()
    device, call = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(device, "mqtt.md", "exec"), names)
    consume()

    exec(call.replace('"127.0.0.1"', f'"127.0.0.1", {broker.port}'), names)
    try:
        eventually(
            lambda: (
                rows(sql, "SELECT meter_id, kwh_consumed_ac FROM meter_telemetry")
                == [("DE*ABC*E123", 1050.5)]
            ),
            "the reading is not stored",
        )
    finally:
        names["device"].disconnect()
        names["device"].loop_stop()
