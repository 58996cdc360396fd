"""schemathesis against the running server: whatever it sends, the answers are as documented."""

from __future__ import annotations

import copy
import json
import urllib.request
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from tests.examples import ago, meter, vehicle
from tests.http.test_openapi import DOCUMENT, OPERATIONS
from tests.scale import scaled

pytestmark = pytest.mark.scaled

TIMES = [ago(minutes=1), ago(hours=1), ago(days=1)]
LATER = [ago(days=-1), ago(days=-2)]
# Of a window: any of these starts comes before any of these ends.
SPAN = {"start": [ago(days=3), ago(days=2)], "end": TIMES}
# What a request may say, beyond what its schema tells.
TOLD = SPAN | {
    "changedSince": TIMES,
    "tz": ["UTC", "Europe/Berlin"],
    "reason": ["nonsense after a boot"],
}
# Body, path and arguments, heads: a refusal of any request that is so, before a look at its schema.
TOO_LARGE = {413, 414, 431}
KNOWN = {"vehicleId": "V-999", "meterId": "M-123"}
SITE = "S-1"
# What a path may name: what is known, and what is not.
NAMED = {name: [value] for name, value in KNOWN.items()} | {
    "siteId": [SITE],
    "timestamp": TIMES,
}


def taking_input(operation: str) -> bool:
    """Whether there is anything in a request that could be wrong."""
    return "{" in operation or not {"parameters", "requestBody"}.isdisjoint(OPERATIONS[operation])


def answerable(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with values that no schema tells: known ids, times that are accepted."""
    changed = copy.deepcopy(document)
    schemas = changed["components"]["schemas"]
    for name in ("MeterReading", "VehicleReading"):
        schemas[name]["properties"]["timestamp"]["enum"] = TIMES
    schemas["MappingRequest"]["properties"]["validFrom"]["enum"] = [*TIMES, None]
    schemas["MappingRequest"]["properties"]["validTo"]["enum"] = [*LATER, None]
    schemas["DeviceEntry"]["properties"]["site"]["enum"] = [SITE, None]
    for name in ("MeterReplacement", "VehicleReplacement"):
        schemas[name]["properties"]["reason"]["enum"] = TOLD["reason"]
    schemas["SiteEntry"]["properties"]["timeZone"]["enum"] = ["Europe/Berlin", "UTC", None]
    for path in changed["paths"].values():
        for parameter in path.get("parameters", []):
            if parameter["name"] in NAMED:
                parameter["schema"]["enum"] = NAMED[parameter["name"]]
    # Of a meter and a vehicle a request names one.
    listing = changed["paths"]["/v1/readings/corrections"]["get"]
    listing["parameters"] = [
        parameter for parameter in listing["parameters"] if parameter["name"] != "vehicleId"
    ]
    operations = [operation for path in changed["paths"].values() for operation in path.values()]
    for operation in (operation for operation in operations if isinstance(operation, dict)):
        parameters = operation.get("parameters", [])
        # What a cursor holds is known to who made it alone.
        parameters = [
            parameter for parameter in parameters if parameter["schema"].get("format") != "cursor"
        ]
        names = {parameter["name"] for parameter in parameters}
        # Of `start` and `hours` a request names one.
        parameters = [
            parameter
            for parameter in parameters
            if parameter["name"] != "hours" or "start" not in names
        ]
        for parameter in parameters:
            if parameter["name"] in TOLD:
                parameter["schema"]["enum"] = TOLD[parameter["name"]]
            # A removal needs one, unless it is a dry run.
            parameter["required"] = (
                parameter.get("required", False) or parameter["name"] == "reason"
            )
        operation["parameters"] = parameters
    return changed


def make_known(url: str) -> None:
    """Store a day of a vehicle and of its meter, and a site."""
    readings = [reading(timestamp=time) for reading in (meter, vehicle) for time in TIMES]
    for method, path, body in (
        ("POST", "/v1/ingestion", readings),
        ("POST", "/v1/ingestion/mapping", KNOWN),
        ("PUT", f"/v1/sites/{SITE}", {}),
    ):
        request = urllib.request.Request(
            url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        urllib.request.urlopen(request, timeout=60).close()


def check(operation: str, document: dict[str, Any], mode: GenerationMode, url: str) -> None:
    method, path = operation.split(" ")
    described = schemathesis.openapi.from_dict(document)[path][method]

    @given(case=described.as_strategy(mode))
    @settings(
        max_examples=scaled(100),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        response = case.call(base_url=url, timeout=60)
        if response.status_code not in TOO_LARGE:
            case.validate_response(response)

    run()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_request_as_documented_is_answered_as_documented(operation: str, server_url: str) -> None:
    make_known(server_url)

    check(operation, answerable(DOCUMENT), GenerationMode.POSITIVE, server_url)


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if taking_input(name)])
def test_a_request_that_breaks_the_schema_is_refused_as_documented(
    operation: str, server_url: str
) -> None:
    check(operation, DOCUMENT, GenerationMode.NEGATIVE, server_url)
