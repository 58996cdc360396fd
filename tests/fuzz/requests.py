"""Odd requests to every route that the documentation has: none may be answered with a 5xx."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask.testing import FlaskClient

from tests.examples import ago, meter, vehicle

LARGEST = 2_000_000  # bytes of an answer
TIMES = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:60Z",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-02-03T04:05:06.1234567890123Z",
    "2026-02-03T04:05:06+23:59",
    "-4713-01-01T00:00:00Z",
    "infinity",
    "1969-12-31T23:59:59Z",
    "2038-01-19T03:14:08Z",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308, 5e-324, -0.0, 10**400, 1.5)
TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "é",
    "e\u0301",
    "\U0001f98a",
    "' OR 1=1 --",
    "%s",
    "%(id)s",
    "{0}",
    "..",
    "../../etc/passwd",
    "a" * 64,
    "a" * 65,
    "x" * 5_000,
    "NaN",
    "null",
    "-",
    "\r\nX-A: 1",
    "\u202e",
    "Europe/Berlin",
    "../zoneinfo/UTC",
    "posixrules",
    "localtime",
    "1d",
    "raw",
    "-id",
    "true",
)
HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Cookie",
    "Expect",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "Range",
    "Transfer-Encoding",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-HTTP-Method-Override",
    "X-Request-Id",
)
HEADER_VALUES = (
    "*",
    "*/*;q=nan",
    "text/csv;q=2, */*;q=-1",
    "application/json; charset=utf-7",
    'application/json; charset="',
    "multipart/form-data; boundary=",
    "gzip, gzip",
    "gzip;q=x",
    "br",
    'W/"',
    '"' + "a" * 2_000 + '"',
    "Thu, 99 Foo 99999 99:99:99 GMT",
    "bytes=99999999999999999999-1",
    "Bearer fw_000000000000_0",
    "Bearer \xff\xfe",
    "Basic ::::",
    "999.999.999.999, ::g",
    "\xff",
    ",,,;;;===",
)
ODD: tuple[Any, ...] = (*TEXTS, *TIMES, *NUMBERS, True, None, [], {}, [[]], {"": {}})


@dataclass(frozen=True)
class Operation:
    """A route and method, what it takes, and the properties that a body of it may have."""

    method: str
    path: str
    parameters: list[dict[str, Any]]
    properties: dict[str, Any]


def operations(spec: dict[str, Any]) -> list[Operation]:
    """Return all that the documentation describes."""
    return [
        Operation(
            method,
            path,
            [
                resolved(spec, own)
                for own in [*item.get("parameters", []), *of.get("parameters", [])]
            ],
            properties(spec, of.get("requestBody", {})),
        )
        for path, item in spec["paths"].items()
        for method, of in item.items()
        if method != "parameters"
    ]


def resolved(spec: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        found: Any = spec
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def properties(spec: dict[str, Any], part: Any) -> dict[str, Any]:
    """Gather the properties of all objects that a body may hold."""
    found: dict[str, Any] = {}
    left = [part]
    while left:
        match left.pop():
            case {"$ref": str()} as reference:
                left.append(resolved(spec, reference))
            case dict() as described:
                own = described.get("properties")
                found |= own if isinstance(own, dict) else {}
                left += [value for key, value in described.items() if key != "properties"]
            case list() as several:
                left += several
    return found


def seed(client: FlaskClient) -> list[str]:
    """Store something to be asked about, and return cursors of pages that have a next one."""
    for number in range(3):
        name = {"meterId": f"M-{number}"}
        client.post("/v1/ingestion/meter", json=meter(**name))
        client.post("/v1/ingestion/vehicle", json=vehicle(vehicleId=f"V-{number}"))
        client.post("/v1/ingestion/mapping", json={"vehicleId": f"V-{number}"} | name)
        client.put(f"/v1/sites/S-{number}", json={"name": "a", "timeZone": "Europe/Berlin"})
        client.put(f"/v1/devices/meters/M-{number}", json={"site": f"S-{number}"})
    paths = (
        "/v1/mappings",
        "/v1/mappings/changes",
        "/v1/sites",
        "/v1/devices/meters",
        "/v1/status/meters",
        "/v1/analytics/performance",
    )
    answers = (client.get(f"{path}?limit=1").json for path in paths)
    ends = [answer["next"] for answer in answers if answer and answer.get("next")]
    # Some pages end with an id or a number.
    cursors = [end for end in ends if len(str(end)) > len("M-1")]
    assert len(cursors) >= 2
    return cursors


class Requests:
    """Requests of a seed, each by its operation with some of it odd."""

    def __init__(self, chance: random.Random, operations: list[Operation], cursors: list[str]):
        self.chance = chance
        self.operations = operations
        self.cursors = cursors

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            yield self.request(self.chance.choice(self.operations))

    def request(self, operation: Operation) -> dict[str, Any]:
        chance = self.chance
        path = operation.path
        query = []
        for parameter in operation.parameters:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quoted(self.argument(parameter)))
            elif parameter["in"] == "query" and chance.random() < 0.4:
                query += [
                    f"{parameter['name']}={quoted(self.argument(parameter))}"
                    for _ in range(chance.choice((1, 1, 1, 2)))
                ]
        if chance.random() < 0.05:
            query.append(quoted(chance.choice(TEXTS)))
        headers = {
            chance.choice(HEADERS): chance.choice(HEADER_VALUES)
            for _ in range(chance.choice((0, 0, 0, 1, 2)))
        }
        request: dict[str, Any] = {"method": operation.method.upper(), "headers": headers}
        if operation.properties:
            request["data"] = self.body(operation.properties)
            headers.setdefault("Content-Type", chance.choice(("application/json",) * 5 + ("",)))
            if chance.random() < 0.1:
                request["data"] = gzip.compress(request["data"])[: chance.choice((20, 10_000))]
                headers.setdefault("Content-Encoding", "gzip")
        return request | {"path": path, "query_string": "&".join(query)}

    def argument(self, parameter: dict[str, Any]) -> Any:
        """Return something for a parameter of a path or a query, more often what it is for."""
        chance = self.chance
        if parameter["name"] == "after" and chance.random() < 0.9:
            return self.cursor()
        if chance.random() < 0.5:
            return chance.choice(ODD)
        schema = parameter.get("schema", {})
        if "enum" in schema:
            return chance.choice(schema["enum"])
        if schema.get("type") in {"integer", "number"}:
            return chance.choice((1, 2, 24, 744, 1_000, schema.get("maximum", 7)))
        if schema.get("format") == "date-time" or "time" in parameter["name"].lower():
            return chance.choice((ago(hours=1), ago(days=30), *TIMES))
        return chance.choice(("V-1", "M-1", "S-1", schema.get("example", "V-2")))

    def cursor(self) -> str:
        """Return a cursor with something else in it than a page has ended with."""
        chance = self.chance
        end = json.loads(base64.urlsafe_b64decode(chance.choice(self.cursors)))
        for name in list(end) if isinstance(end, dict) else range(len(end)):
            if chance.random() < 0.5:
                end[name] = chance.choice((*ODD, *TIMES, *TIMES))
        encoded = base64.urlsafe_b64encode(json.dumps(end).encode()).decode()
        return chance.choice((encoded,) * 9 + (encoded[: chance.randrange(1 + len(encoded))],))

    def body(self, properties: dict[str, Any]) -> bytes:
        chance = self.chance
        whole = {
            name: chance.choice((*ODD, *TIMES, "V-1", "M-1", 1, ago(minutes=chance.randrange(99))))
            if chance.random() < 0.4
            else described.get("example", "V-1")
            for name, described in properties.items()
            if chance.random() < 0.9
        }
        if chance.random() < 0.05:
            whole[chance.choice(TEXTS)] = chance.choice(ODD)
        text = json.dumps(chance.choice((whole,) * 8 + ([whole] * 3, [[whole]])))
        text = chance.choice((text,) * 9 + (text[: chance.randrange(1 + len(text))],))
        return text.encode(chance.choice(("utf-8",) * 9 + ("utf-16",)), "surrogatepass")


def quoted(value: Any) -> str:
    """Put a value into a URL, as bytes that may be no UTF-8."""
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def wrong(client: FlaskClient, requests: Iterator[dict[str, Any]], count: int) -> list[str]:
    """Send so many requests, and return those whose answer was a 5xx or too large."""
    found = []
    for _, request in zip(range(count), requests, strict=False):
        answer = client.open(**request)
        if answer.status_code >= 500 or len(answer.data) > LARGEST:
            found.append(f"{answer.status_code}, {len(answer.data)} bytes: {request}")
    return found
