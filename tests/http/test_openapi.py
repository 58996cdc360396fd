from __future__ import annotations

import builtins
import re
import typing
from importlib.metadata import version
from typing import Any

import pytest
import schemathesis

from fleetwatt.app import create_app
from fleetwatt.config import Config

CLIENT = create_app(Config()).test_client()
DOCUMENT: dict[str, Any] = CLIENT.get("/openapi.json").json or {}
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
FIELDS = {
    f"{schema}.{name}": field
    for schema, described in DOCUMENT["components"]["schemas"].items()
    for name, field in described.get("properties", {}).items()
}
ENUMS = {
    name: schema for name, schema in DOCUMENT["components"]["schemas"].items() if "enum" in schema
}
PARAMETERS = {
    f"{path} {parameter['name']}": parameter
    for path, item in DOCUMENT["paths"].items()
    for described in item.values()
    for parameter in (described if isinstance(described, list) else described.get("parameters", []))
    if parameter["in"] == "query"
}
UNITS = ("(kWh)", "(kW)", "(V)", "(%)", "(°C)", "(s)", "(h)")


def resolved(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response itself, not a reference to it."""
    _, _, name = response.get("$ref", "").rpartition("/")
    shared: dict[str, dict[str, Any]] = DOCUMENT["components"]["responses"]
    return shared[name] if name else response


def forms(operation: str, status: int) -> list[str]:
    """Return the media types of an answer."""
    if status == 304:
        return []
    if status >= 400:
        return ["application/problem+json"]
    if operation == "GET /metrics":
        return ["text/plain"]
    tables = ["text/csv"] if operation.endswith("/series") else []
    return ["application/json", *tables]


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["description"]
    assert DOCUMENT["info"]["version"] == version("fleetwatt")
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_has_a_description_an_example_and_its_unit(name: str) -> None:
    field = FIELDS[name]

    assert field["description"]
    assert "example" in field or "default" in field or "items" in field
    assert ("x-unit" in field) == field["description"].endswith(UNITS)


@pytest.mark.parametrize("name", ENUMS)
def test_an_enum_names_each_of_its_values_once(name: str) -> None:
    names = ENUMS[name]["x-enum-varnames"]

    assert len(set(names)) == len(ENUMS[name]["enum"])
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", constant) for constant in names)


def test_no_enum_stands_within_another_schema() -> None:
    inline = {name for name, field in FIELDS.items() if "enum" in field.get("items", field)}
    asked = {name for name, parameter in PARAMETERS.items() if "enum" in parameter["schema"]}

    assert inline | asked == set()
    assert {"SummaryWarning", "BucketWidth", "PerformanceOrder", "Edition"} <= ENUMS.keys()


def test_answers_may_gain_fields_and_requests_take_no_others() -> None:
    closed = {
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if schema.get("additionalProperties") is False
    }

    assert closed == {
        *("MeterReading", "VehicleReading", "MeterReplacement", "VehicleReplacement"),
        *("MappingRequest", "DeviceEntry", "SiteEntry"),
    }


def test_no_schema_has_the_name_of_a_type_of_python_s() -> None:
    assert not DOCUMENT["components"]["schemas"].keys() & {*dir(builtins), *dir(typing)}


def test_it_says_where_the_service_is_and_keeps_its_title() -> None:
    assert DOCUMENT["info"]["title"] == "fleetwatt"
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]
    assert DOCUMENT["info"]["contact"]["name"]


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENT["components"]["schemas"] if name not in ENUMS]
)
def test_a_schema_says_which_fields_are_always_there(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    sometimes = {
        "Problem": {"errors", "errorsOmitted"},
        "Readiness": {"version", "database", "replica", "messages"},
        "MappingRequest": {"validFrom", "validTo"},
        "DeviceEntry": {"name", "site", "intervalSeconds", "maxKw"},
        "SiteEntry": {"name", "timeZone"},
        "Fleet": {"hours"},
        "MeterBucket": {"ignored"},
        "VehicleBucket": {"ignored"},
    }

    missing = set(schema["properties"]) - set(schema.get("required", []))
    assert missing == sometimes.get(name, set())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_answer_that_asks_for_patience_says_for_how_long(name: str) -> None:
    for status in {"429", "503"} & set(OPERATIONS[name]["responses"]):
        described = resolved(OPERATIONS[name]["responses"][status])
        assert described["headers"]["Retry-After"]["schema"]["type"] == "integer"


@pytest.mark.parametrize(
    "name", [name for name in FIELDS if name.endswith((".start", ".windowStart"))]
)
def test_an_answer_says_of_which_device_and_when_before_any_figure(name: str) -> None:
    schema, _, start = name.partition(".")
    fields = list(DOCUMENT["components"]["schemas"][schema]["properties"])

    correction = ["id", "stream", "device", "action"]
    assert fields[: fields.index(start)] in ([], ["vehicleId"], ["meterId"], correction)


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_argument_has_a_description_and_its_unit(name: str) -> None:
    parameter = PARAMETERS[name]

    assert parameter["description"]
    assert ("x-unit" in parameter["schema"]) == parameter["description"].endswith(UNITS)


@pytest.mark.parametrize("name", sorted({name.split()[0] for name in PARAMETERS}))
def test_an_argument_that_a_route_does_not_have_is_refused_and_named(name: str) -> None:
    (method,) = (key for key in DOCUMENT["paths"][name] if key != "parameters")

    response = CLIENT.open(re.sub(r"{\w+}", "D-1", name), method=method, query_string="hour=24")

    assert response.status_code == 422
    assert response.json
    unknown = {"index": None, "field": "hour", "message": "Unknown field."}
    missing = [error for error in response.json["errors"] if error != unknown]
    assert unknown in response.json["errors"]
    # Some routes need arguments, which this request lacks.
    assert {error["message"] for error in missing} <= {"Missing data for required field."}


def test_each_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(set(names)) == len(names)
    assert {"getHealthz", "postIngestionMeter", "getAnalyticsPerformanceVehicleId"} < set(names)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if "after" not in name])
def test_an_argument_that_is_left_out_is_not_null(name: str) -> None:
    schema = PARAMETERS[name]["schema"]

    assert "null" not in schema["type"]
    assert None not in schema.get("enum", [])
    assert schema.get("default", "left out") is not None


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_problem_s_example_is_of_its_status(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        content = response.get("content", {}).get("application/problem+json", {})
        if "example" in content:
            assert content["example"]["status"] == int(status)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_and_answers(name: str) -> None:
    operation = OPERATIONS[name]

    assert operation["summary"]
    assert any(int(status) < 300 for status in operation["responses"])
    for status, response in operation["responses"].items():
        described = resolved(response)
        assert list(described.get("content", {})) == forms(name, int(status))
        assert described["description"]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "/v1/" in name])
def test_an_operation_on_the_database_may_find_it_away(name: str) -> None:
    assert "503" in OPERATIONS[name]["responses"]


def test_its_page_needs_nothing_from_elsewhere() -> None:
    page = CLIENT.get("/docs/").text

    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert all(re.match(r"/(?!/)", source) for source in sources)
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-standalone-preset.js"):
        assert f'"/docs/{asset}"' in page
        with CLIENT.get(f"/docs/{asset}") as response:
            assert response.status_code == 200
