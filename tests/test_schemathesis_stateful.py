"""schemathesis in stories: what was stored is told wherever its answer leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    multiple,
    rule,
    run_state_machine_as_test,
)
from psycopg2.extensions import connection as Connection
from schemathesis import GenerationMode

from fleetwatt.streams import STREAMS
from tests.conftest import empty
from tests.http.test_openapi import DOCUMENT, OPERATIONS
from tests.scale import scaled
from tests.test_schemathesis import TIMES, answerable

IDS = {"vehicleId": ["V-1", "V-2"], "meterId": ["M-1", "M-2"]}
READINGS = [f"POST /v1/ingestion/{stream.name}" for stream in STREAMS]
MAPPING = "POST /v1/ingestion/mapping"
CONTAINERS = {"path": "path_parameters", "query": "query"}


def about_few_devices(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with two devices of a kind, three times, and one reading a request."""
    changed = answerable(document)
    schemas = changed["components"]["schemas"]
    for name in ("MeterReading", "VehicleReading", "MappingRequest"):
        for field in IDS.keys() & schemas[name]["properties"]:
            schemas[name]["properties"][field]["enum"] = IDS[field]
    schemas["MappingRequest"]["properties"]["validFrom"] = {"enum": [*TIMES, None]}
    # Amendments of what was have tests of their own: here mappings follow one another. There is no
    # stream that could queue a reading.
    del schemas["MappingRequest"]["properties"]["validTo"]
    for path, method, left_out in (
        *((f"/v1/ingestion/{stream.name}", "post", "accept") for stream in STREAMS),
        ("/v1/ingestion/mapping", "post", "replace"),
        ("/v1/ingestion/mapping/{vehicleId}", "delete", "at"),
    ):
        operation = changed["paths"][path][method]
        operation["parameters"] = [
            parameter for parameter in operation["parameters"] if parameter["name"] != left_out
        ]
    for path in changed["paths"].values():
        for parameter in path.get("parameters", []):
            if parameter["name"] in IDS:
                parameter["schema"]["enum"] = IDS[parameter["name"]]
    for stream in STREAMS:
        body = changed["paths"][f"/v1/ingestion/{stream.name}"]["post"]["requestBody"]
        one, _ = body["content"]["application/json"]["schema"]["oneOf"]
        body["content"] = {"application/json": {"schema": one}}
    return changed


SCHEMA = schemathesis.openapi.from_dict(about_few_devices(DOCUMENT))


@dataclass
class Link:
    """Where an answer leads: to an operation, with values for some of its parameters."""

    operation: str
    values: dict[str, str]


def links(operation: str, status: int, body: dict[str, str]) -> list[Link]:
    """Return the documented links of an answer to a request with a body."""
    found = []
    for link in OPERATIONS[operation]["responses"][str(status)]["links"].values():
        path, _, method = link["operationRef"].removeprefix("#/paths/").rpartition("/")
        target = f"{method.upper()} {unquote(path).replace('~1', '/')}"
        parameters = link["parameters"].items()
        values = {
            name: body[expression.removeprefix("$request.body#/")]
            for name, expression in parameters
        }
        found.append(Link(target, values))
    return found


LINKED = {
    link.operation
    for operation in (*READINGS, MAPPING)
    for status in (200, 201)
    for link in links(operation, status, dict.fromkeys(IDS, ""))
}
CASES = {
    operation: SCHEMA[operation.split()[1]][operation.split()[0]].as_strategy(
        GenerationMode.POSITIVE
    )
    for operation in (*READINGS, MAPPING, *LINKED)
}


class Story(RuleBasedStateMachine):
    """Posts readings and mappings, and goes where the answers lead.

    Attributes:
        readings: What was stored of each device, by time.
        mappings: Of each vehicle, as the API told them.
    """

    url: str
    database: Connection
    followed: set[str]
    links = Bundle("links")

    def __init__(self) -> None:
        super().__init__()
        empty(self.database)
        self.readings: dict[str, dict[str, Any]] = {}
        self.mappings: dict[str, list[dict[str, Any]]] = {}

    def call(self, case: Any) -> Any:
        response = case.call(base_url=self.url, timeout=60)
        case.validate_response(response)
        return response

    @rule(target=links, case=st.one_of([CASES[operation] for operation in READINGS]))
    def store_a_reading(self, case: Any) -> MultipleResults[Link]:
        response = self.call(case)
        reading = case.body
        known = self.readings.setdefault(reading.get("meterId") or reading["vehicleId"], {})
        assert response.status_code == (200 if reading["timestamp"] in known else 201)
        known.setdefault(reading["timestamp"], reading)
        return multiple(*links(case.operation.label, response.status_code, reading))

    @rule(target=links, case=CASES[MAPPING])
    def map_a_vehicle(self, case: Any) -> MultipleResults[Link]:
        response = self.call(case)
        mappings = self.mappings.setdefault(case.body["vehicleId"], [])
        if response.status_code == 409:
            assert mappings
            return multiple()
        mapping = response.json()
        # What a list of mappings does not repeat.
        mapping.pop("warnings", None)
        if response.status_code == 200:
            assert mapping == mappings[-1]
        else:
            if mappings and not mappings[-1]["validTo"]:
                mappings[-1]["validTo"] = mapping["validFrom"]
            mappings.append(mapping)
        return multiple(*links(MAPPING, response.status_code, case.body))

    @rule(link=links, data=st.data())
    def follow_a_link(self, link: Link, data: st.DataObject) -> None:
        case = data.draw(CASES[link.operation])
        for name, value in link.values.items():
            where, _, parameter = name.partition(".")
            before = getattr(case, CONTAINERS[where]) or {}
            setattr(case, CONTAINERS[where], {**before, parameter: value})
        response = self.call(case)
        self.followed.add(link.operation)
        device, *_ = link.values.values()
        if link.operation == "GET /v1/mappings":
            self.check_mappings(response.json()["items"], *link.values.values())
        elif link.operation.startswith("DELETE"):
            self.check_unplugged(device, response)
        elif not self.is_known(device, link.operation):
            assert response.status_code == 404
        elif "/status/" in link.operation:
            self.check_status(device, response.json())
        else:
            # 422: the window that was drawn would have too many points.
            assert response.status_code in {200, 422}

    def check_mappings(self, items: list[dict[str, Any]], vehicle: str, meter: str) -> None:
        assert items == [
            mapping for mapping in self.mappings[vehicle] if mapping["meterId"] == meter
        ]

    def check_unplugged(self, vehicle: str, response: Any) -> None:
        mapping = self.open_mapping(vehicle)
        if mapping is None:
            assert response.status_code == 404
            return
        closed = response.json()
        closed.pop("warnings", None)
        assert closed["validTo"]
        mapping["validTo"] = closed["validTo"]
        assert closed == mapping

    def check_status(self, device: str, status: dict[str, Any]) -> None:
        readings = self.readings[device]
        newest = readings[max(readings)]
        assert newest.items() <= status.items()
        if "vehicleId" in newest:
            mapping = self.open_mapping(device)
            assert status["meterId"] == (mapping and mapping["meterId"])

    def open_mapping(self, vehicle: str) -> dict[str, Any] | None:
        mappings = self.mappings.get(vehicle)
        return mappings[-1] if mappings and not mappings[-1]["validTo"] else None

    def is_known(self, device: str, operation: str) -> bool:
        mapped = "/performance/" in operation and device in self.mappings
        return mapped or device in self.readings


@pytest.mark.scaled
def test_what_was_stored_is_told_wherever_its_answer_leads(
    server_url: str, sql: Connection
) -> None:
    Story.url, Story.database, Story.followed = server_url, sql, set()

    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=scaled(100),
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

    # Which are drawn is chance, and changes with the constants in the source: one may be missed.
    assert len(Story.followed) > len(LINKED) / 2
