"""schemathesis against the running server: whatever it sends, the answers are as documented."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.test_openapi import OPERATIONS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def documented(server_url: str) -> Any:
    return schemathesis.openapi.from_url(f"{server_url}/openapi.json")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_answer_is_as_documented(operation: str, documented: Any) -> None:
    method, path = operation.split(" ")

    @given(case=documented[path][method].as_strategy())
    @settings(
        max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    check()
