"""The register: entries of devices and sites, what they may say, and who may change them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

import pytest
from flask.testing import FlaskClient

from fleetwatt.app import create_app
from fleetwatt.config import Config
from fleetwatt.security import keys
from tests.examples import at, meter

METER = "/v1/devices/meters/M-1"
DEFAULTS = {"name": None, "site": None, "intervalSeconds": 60, "maxKw": 1000}
ENTRY = {"name": "Bay 7", "site": "S-1", "intervalSeconds": 900, "maxKw": 22.5}


@pytest.fixture(autouse=True)
def _site(client: FlaskClient) -> None:
    assert client.put("/v1/sites/S-1", json={}).status_code == 201


def faults(client: FlaskClient, path: str, body: Any) -> list[str]:
    """Return the fields for which a body is rejected."""
    response = client.put(path, json=body)
    assert response.status_code == 422, response.text
    assert response.json
    assert response.json["type"] == "urn:fleetwatt:problem:invalid-arguments"
    return [error["field"] for error in response.json["errors"]]


def test_a_device_is_registered_before_its_first_reading(client: FlaskClient) -> None:
    response = client.put(METER, json=ENTRY)

    assert response.status_code == 201
    assert response.json == {"id": "M-1"} | ENTRY
    assert client.get(METER).json == {"id": "M-1"} | ENTRY
    assert client.get("/v1/status/meters/M-1").status_code == 404


def test_the_same_entry_again_changes_nothing(client: FlaskClient) -> None:
    client.put(METER, json=ENTRY)

    again = client.put(METER, json=ENTRY)

    assert again.status_code == 200
    assert again.json == client.get(METER).json == {"id": "M-1"} | ENTRY


@pytest.mark.parametrize("field", ENTRY)
def test_what_an_entry_leaves_out_is_back_at_its_default(client: FlaskClient, field: str) -> None:
    client.put(METER, json=ENTRY)

    response = client.put(METER, json={name: ENTRY[name] for name in ENTRY if name != field})

    assert response.status_code == 200
    assert response.json == {"id": "M-1"} | ENTRY | {field: DEFAULTS[field]}


@pytest.mark.parametrize("body", [{}, dict.fromkeys(ENTRY)])
def test_an_empty_entry_has_the_defaults(client: FlaskClient, body: dict[str, Any]) -> None:
    assert client.put(METER, json=body).status_code == 201
    assert client.get(METER).json == {"id": "M-1"} | DEFAULTS


def test_the_default_power_is_a_setting(config: Config) -> None:
    app = create_app(replace(config, max_kw=50))
    try:
        assert app.test_client().put(METER, json={}).json == {"id": "M-1"} | DEFAULTS | {
            "maxKw": 50
        }
    finally:
        app.extensions["fleetwatt"].close()


def test_a_meter_and_a_vehicle_of_one_id_are_two_devices(client: FlaskClient) -> None:
    client.put(METER, json={"name": "the meter"})

    assert client.get("/v1/devices/vehicles/M-1").status_code == 404
    assert client.put("/v1/devices/vehicles/M-1", json={"name": "the vehicle"}).status_code == 201
    assert (client.get(METER).json or {})["name"] == "the meter"


def test_a_device_without_an_entry_is_not_known_even_where_it_reports(client: FlaskClient) -> None:
    client.post("/v1/ingestion/meter", json=meter(meterId="M-1"))

    for response in (client.get(METER), client.delete(METER)):
        assert response.status_code == 404
        assert response.json
        assert response.json["type"] == "urn:fleetwatt:problem:not-known"


def test_a_removed_entry_is_answered_as_it_was_and_gone(client: FlaskClient) -> None:
    client.post("/v1/ingestion/meter", json=meter(meterId="M-1"))
    client.put(METER, json=ENTRY)

    removed = client.delete(METER)

    assert removed.status_code == 200
    assert removed.json == {"id": "M-1"} | ENTRY
    assert client.get(METER).status_code == client.delete(METER).status_code == 404
    assert client.get("/v1/status/meters/M-1").status_code == 200
    assert client.put(METER, json={}).status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("intervalSeconds", 0),
        ("intervalSeconds", -60),
        ("intervalSeconds", 0.0009),
        ("intervalSeconds", 31 * 86_400 + 1),
        ("intervalSeconds", "60"),
        ("intervalSeconds", True),
        ("maxKw", 0),
        ("maxKw", -1),
        ("maxKw", 1e13),
        ("maxKw", 5e-324),
        ("maxKw", "22"),
        ("maxKw", [22]),
        ("name", ""),
        ("name", "x" * 201),
        ("name", "two\nlines"),
        ("name", "nul\0"),
        ("name", "\x7f"),
        ("name", "\x85"),
        ("name", "\u2028"),
        ("name", 7),
        ("name", ["a"]),
        ("site", "no such site"),
        ("site", ""),
        ("site", 1),
        ("site", "S-2"),
        ("color", "red"),
        ("id", "M-2"),
    ],
)
def test_what_an_entry_may_not_say_is_named_and_stored_nowhere(
    client: FlaskClient, field: str, value: Any
) -> None:
    client.put(METER, json=ENTRY)

    assert faults(client, METER, ENTRY | {field: value}) == [field]
    assert client.get(METER).json == {"id": "M-1"} | ENTRY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("intervalSeconds", 1),
        ("intervalSeconds", 0.001),
        ("intervalSeconds", 86_400),
        ("intervalSeconds", 31 * 86_400),
        ("maxKw", 1e-6),
        ("maxKw", 1e12),
        ("name", "x" * 200),
        ("name", "Ladesäule 7, Nordhof 🚚"),
        ("name", "a'b\"c\\d{e},%(name)s"),
        ("name", " "),
    ],
)
def test_what_an_entry_may_say_is_answered_as_it_was_given(
    client: FlaskClient, field: str, value: Any
) -> None:
    assert client.put(METER, json={field: value}).status_code == 201
    assert (client.get(METER).json or {})[field] == value


@pytest.mark.parametrize(
    "field",
    ['"maxKw": Infinity', '"maxKw": NaN', '"maxKw": 1e999', '"name": "half \\ud83d"'],
)
def test_a_value_that_is_no_json_is_rejected(client: FlaskClient, field: str) -> None:
    response = client.put(METER, data=f"{{{field}}}", content_type="application/json")

    assert response.status_code == 400


@pytest.mark.parametrize(("body", "status"), [("[]", 422), ("1", 422), ("{", 400), ("", 400)])
def test_a_body_that_is_no_entry_is_rejected(client: FlaskClient, body: str, status: int) -> None:
    response = client.put(METER, data=body, content_type="application/json")

    assert response.status_code == status
    assert client.put(METER, data=body).status_code == 415


def test_devices_are_listed_in_pages_by_id_all_or_of_a_site(client: FlaskClient) -> None:
    for number in (3, 1, 4, 2, 5):
        entry = {"site": "S-1"} if number % 2 else {}
        client.put(f"/v1/devices/meters/M-{number}", json=entry)
    client.put("/v1/devices/vehicles/V-1", json={"site": "S-1"})

    first = client.get("/v1/devices/meters", query_string={"limit": 2}).json
    second = client.get("/v1/devices/meters", query_string={"limit": 3, "after": "M-2"}).json
    of_site = client.get("/v1/devices/meters", query_string={"site": "S-1"}).json

    assert first
    assert [item["id"] for item in first["items"]] == ["M-1", "M-2"]
    assert first["items"][1] == {"id": "M-2"} | DEFAULTS
    assert first["next"] == "M-2"
    assert second
    assert [item["id"] for item in second["items"]] == ["M-3", "M-4", "M-5"]
    assert second["next"] is None
    assert of_site
    assert [item["id"] for item in of_site["items"]] == ["M-1", "M-3", "M-5"]
    assert client.get("/v1/devices/vehicles", query_string={"site": "S-2"}).json == {
        "items": [],
        "next": None,
    }


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"site": "a b"}, {"after": ""}])
def test_a_page_that_cannot_be_is_rejected(client: FlaskClient, query: dict[str, Any]) -> None:
    assert client.get("/v1/devices/meters", query_string=query).status_code == 422


def test_a_site_is_made_replaced_and_removed(client: FlaskClient) -> None:
    depot = {"name": "Depot North", "timeZone": "Europe/Berlin"}

    assert client.put("/v1/sites/S-2", json=depot).json == {"id": "S-2"} | depot
    assert client.get("/v1/sites/S-2").json == {"id": "S-2"} | depot
    replaced = client.put("/v1/sites/S-2", json={})
    assert replaced.status_code == 200
    assert replaced.json == {"id": "S-2", "name": None, "timeZone": "UTC"}
    removed = client.delete("/v1/sites/S-2")
    assert removed.status_code == 200
    assert removed.json == replaced.json
    assert client.get("/v1/sites/S-2").status_code == 404
    assert client.delete("/v1/sites/S-2").status_code == 404


def test_a_site_with_devices_stays(client: FlaskClient) -> None:
    client.put(METER, json={"site": "S-1"})

    refused = client.delete("/v1/sites/S-1")

    assert refused.status_code == 409
    assert refused.json
    assert refused.json["type"] == "urn:fleetwatt:problem:site-in-use"
    assert client.get("/v1/sites/S-1").status_code == 200
    client.put(METER, json={})
    assert client.delete("/v1/sites/S-1").status_code == 200


def test_sites_are_listed_in_pages_by_id(client: FlaskClient) -> None:
    for site in ("b", "S-2"):
        client.put(f"/v1/sites/{site}", json={"name": site})

    page = client.get("/v1/sites", query_string={"limit": 2}).json
    assert page
    assert [item["id"] for item in page["items"]] == ["S-1", "S-2"]
    rest = client.get("/v1/sites", query_string={"after": page["next"]}).json
    assert rest == {"items": [{"id": "b", "name": "b", "timeZone": "UTC"}], "next": None}


@pytest.mark.parametrize(
    "zone", ["Berlin", "europe/berlin", "", "../etc/passwd", "Europe/", "UTC\0", 1, ["UTC"]]
)
def test_a_time_zone_that_iana_does_not_name_is_rejected(client: FlaskClient, zone: Any) -> None:
    assert faults(client, "/v1/sites/S-2", {"timeZone": zone}) == ["timeZone"]


def test_every_zone_that_zoneinfo_knows_is_one(client: FlaskClient) -> None:
    zones = sorted(available_timezones() - {"localtime", "posixrules"})[::25]

    for zone in zones:
        answer = client.put("/v1/sites/S-1", json={"timeZone": zone}).json
        assert answer
        assert answer["timeZone"] == zone


@pytest.mark.parametrize("path", [METER, "/v1/devices/meters", "/v1/sites/S-1", "/v1/sites"])
def test_who_has_the_answer_already_is_told_so(client: FlaskClient, path: str) -> None:
    client.put(METER, json=ENTRY)
    tag = client.get(path).headers["ETag"]

    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    client.put(METER, json={"site": "S-1"})
    client.put("/v1/sites/S-1", json={"name": "another"})
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_a_site_goes_or_a_device_comes_but_never_both(client: FlaskClient) -> None:
    for attempt in range(10):
        site = f"race-{attempt}"
        client.put(f"/v1/sites/{site}", json={})
        with ThreadPoolExecutor(2) as threads:
            put = threads.submit(client.application.test_client().put, METER, json={"site": site})
            removed = threads.submit(client.application.test_client().delete, f"/v1/sites/{site}")
        assert (put.result().status_code < 300) == (removed.result().status_code == 409)
        assert removed.result().status_code in {200, 409}


@pytest.mark.parametrize("path", [METER, "/v1/devices/vehicles/V-1", "/v1/sites/S-1"])
@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [("read", True, False), ("ingest", False, False), ("admin", True, True)],
)
def test_an_administrator_writes_and_a_reader_reads(
    config: Config, path: str, scope: str, *, reads: bool, writes: bool
) -> None:
    app = create_app(replace(config, auth="required"))
    try:
        prefix, whole, hashed = keys.generate()
        app.extensions["fleetwatt"].query_one(
            "create_key",
            prefix=prefix,
            hash=hashed,
            name="",
            scopes=[scope],
            devices=None,
            lifetime=None,
        )
        client, headers = app.test_client(), {"Authorization": f"Bearer {whole}"}
        listing = path.rpartition("/")[0]

        assert client.get(path).status_code == 401
        assert (client.put(path, json={}, headers=headers).status_code != 403) == writes
        assert (client.get(path, headers=headers).status_code != 403) == reads
        assert (client.get(listing, headers=headers).status_code == 200) == reads
        assert (client.delete(path, headers=headers).status_code != 403) == writes
    finally:
        app.extensions["fleetwatt"].close()


def newest(client: FlaskClient, **minutes: float) -> None:
    """Store of each meter a reading that is so many minutes old."""
    now = datetime.now(UTC)
    readings = [
        meter(meterId=device.replace("_", "-"), timestamp=at(now - timedelta(minutes=age)))
        for device, age in minutes.items()
    ]
    assert client.post("/v1/ingestion", json=readings).status_code == 201


def fresh(client: FlaskClient, **query: Any) -> dict[str, int]:
    answer = client.get("/v1/analytics/fleet", query_string=query).json
    assert answer
    meters: dict[str, int] = answer["meters"]
    return meters


def test_the_fleet_s_devices_are_stale_after_five_of_their_own_intervals(
    client: FlaskClient,
) -> None:
    newest(client, minute_4=4, minute_6=6, quarter_70=70, quarter_80=80)
    for device in ("quarter-70", "quarter-80"):
        client.put(f"/v1/devices/meters/{device}", json={"intervalSeconds": 900})

    assert fresh(client) == {"reporting": 2, "stale": 2, "silent": 0}
    assert fresh(client, staleAfter=75 * 60) == {"reporting": 3, "stale": 1, "silent": 0}


def test_a_registered_device_that_never_reported_is_silent(client: FlaskClient) -> None:
    newest(client, M_1=1)
    client.put(METER, json={})
    client.put("/v1/devices/meters/M-2", json={})
    client.put("/v1/devices/vehicles/V-2", json={})

    assert fresh(client) == {"reporting": 1, "stale": 0, "silent": 1}
