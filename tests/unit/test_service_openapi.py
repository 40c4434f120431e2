"""The OpenAPI document against the service, by schemathesis: whatever may be asked gets an answer that is documented, and never a 5xx."""

from __future__ import annotations

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from .service_help import client

pytestmark = pytest.mark.slow
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [("GET", "/v1/recommend"), ("POST", "/v1/recommend"), ("POST", "/v1/feedback"), ("GET", "/v1/similar"),
    ("POST", "/v1/similar"),    ("POST", "/v1/explain"), ("POST", "/v1/admin/reload"), ("GET", "/health"),
    ("GET", "/ready"), ("GET", "/metrics")]  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with client(tmp_path_factory.mktemp("fuzzed")) as found:
        yield found


@pytest.fixture(scope="module")
def schema(service):
    return schemathesis.openapi.from_dict(service.get("/openapi.json").json())


def test_every_operation_is_asked(schema):
    assert sorted((found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()) == sorted(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_5xx_and_nothing_that_is_not_documented(service, schema, method, path, mode):
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        pytest.skip("There is nothing in this request that could be wrong.")
    statuses = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=20 if operation.body or operation.query else 2, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    def ask(case):
        case.headers = {**(case.headers or {}), "Host": "127.0.0.1"}
        asked = case.as_transport_kwargs(base_url="http://127.0.0.1")
        asked.pop("cookies", None)
        if "data" in asked and isinstance(asked["data"], (bytes, str)):
            asked["content"] = asked.pop("data")
        try:
            response = service.request(**asked)
        except httpx2.InvalidURL:  # an address so long that the client will not send it
            return
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    assert statuses & ({200, 404, 422} if mode is GenerationMode.POSITIVE else {400, 403, 415, 422, 200})
