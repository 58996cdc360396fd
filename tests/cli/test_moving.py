"""A service is moved by files: its exports, imported elsewhere, give the same answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.cli.conftest import Command
from tests.conftest import empty
from tests.examples import NOW, ago, at, meter, vehicle

END = NOW.replace(minute=0, second=0) - timedelta(hours=1)
WINDOW = {"end": at(END), "hours": "48"}
SPAN = {"start": at(END - timedelta(hours=48)), "end": at(END)}
# When something arrived here, and how long ago: not of the fleet, but of this service.
OF_HERE = {"receivedAt", "ageSeconds"}
QUESTIONS: list[tuple[str, dict[str, str]]] = [
    ("/v1/mappings", {}),
    ("/v1/sites", {}),
    ("/v1/analytics/performance", WINDOW),
    ("/v1/analytics/fleet", WINDOW),
    *((f"/v1/analytics/performance/V-{number}", WINDOW) for number in (1, 2)),
    *((f"/v1/devices/{kind}", {}) for kind in ("meters", "vehicles")),
    *((f"/v1/status/{kind}", {}) for kind in ("meters", "vehicles")),
    *(
        (f"/v1/analytics/{device}/{what}", SPAN | more)
        for device in ("meters/M-1", "meters/M-2", "vehicles/V-1", "vehicles/V-2")
        for what, more in (
            ("series", {"bucket": "1h"}),
            ("series", {"bucket": "raw"}),
            ("gaps", {}),
        )
    ),
]


def fill(client: FlaskClient) -> None:
    """Make a fleet with gaps, a reset, a vehicle that moved, and a register."""
    readings = []
    for minute in range(0, 48 * 60, 10):
        if 600 <= minute < 900:
            continue
        time = at(END - timedelta(hours=48) + timedelta(minutes=minute))
        for number in (1, 2):
            kwh = (minute if minute < 2000 else minute - 2000) * number / 60
            readings += [
                meter(meterId=f"M-{number}", kwhConsumedAc=kwh, timestamp=time),
                vehicle(vehicleId=f"V-{number}", kwhDeliveredDc=0.9 * minute / 60, timestamp=time),
            ]
    assert client.post("/v1/ingestion", json=readings).status_code == 201
    moved = {"vehicleId": "V-1", "validFrom": ago(hours=20), "validTo": ago(hours=10)}
    for query, mapping in (
        ("", {"vehicleId": "V-1", "meterId": "M-1"}),
        ("", {"vehicleId": "V-2", "meterId": "M-2"}),
        ("?replace=true", {"meterId": "M-2"} | moved),
    ):
        assert client.post(f"/v1/ingestion/mapping{query}", json=mapping).status_code == 201
    site = {"name": "Depot North", "timeZone": "Europe/Berlin"}
    assert client.put("/v1/sites/north", json=site).status_code == 201
    device = {"name": "Bay 7, left", "site": "north", "intervalSeconds": 600, "maxKw": 22}
    assert client.put("/v1/devices/meters/M-1", json=device).status_code == 201


def answers(client: FlaskClient) -> dict[str, Any]:
    found = {}
    for path, query in QUESTIONS:
        response = client.get(path, query_string=query)
        assert response.status_code == 200, (path, response.text)
        found[f"{path} {query}"] = without_here(response.json)
    return found


def without_here(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {name: without_here(of) for name, of in answer.items() if name not in OF_HERE}
    if isinstance(answer, list):
        return [without_here(item) for item in answer]
    return answer


def test_what_is_exported_and_imported_elsewhere_answers_the_same(
    client: FlaskClient, command: Command, sql: Connection, tmp_path: Path
) -> None:
    fill(client)
    before = answers(client)
    tables = [str(tmp_path / f"{name}.csv") for name in ("sites", "devices", "mappings")]
    histories = [str(tmp_path / f"{name}.csv") for name in ("meter", "vehicle")]
    for table in tables:
        assert command(Path(table).stem, "export", table).exit_code == 0
    for history in histories:
        assert command("export", Path(history).stem, history).exit_code == 0

    empty(sql)
    assert client.get("/v1/mappings").json == {"items": [], "next": None}
    for table in tables:
        assert command(Path(table).stem, "import", table).exit_code == 0
    for history in histories:
        assert command("import", history).exit_code == 0

    assert answers(client) == before
