"""Requests made up from the OpenAPI document, and every answer held against it.

The processes are real: a store and a gateway. Nobody works for them, so that what is started stays.
What is sent is made from a fixed seed, valid and invalid, so that a failure is the same tomorrow.
Streams of events go on for as long as their workflow does, and have tests of their own.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
import schemathesis
from litestar.testing import TestClient
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks as openapi_checks

from holdfast import Resonate
from holdfast_gateway.app import create_app
from holdfast_gateway.examples import JOB_ID, PARAMETERS
from holdfast_gateway.settings import GatewaySettings
from tests.integration.apps.processes import PORT_0, Process

Listed = tuple[str, str, dict[str, Any]]
"""The method, path and description of an operation."""

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.unsupported_method,
    openapi_checks.negative_data_rejection,
]
EXAMPLES_MAX = 50  # of each operation, beside those at the limits of each schema
ID_IN_QUERY = {"/begin", "/wait"}  # no other route needs more than its path and its body


def made_here() -> Any:
    """Make the document without serving it, so that each operation is a test of its own."""
    with TestClient(create_app(GatewaySettings(), Resonate(env={}))) as client:
        return client.get("/schema/openapi.json").json()


DOCUMENT = made_here()
LISTED: list[Listed] = [
    (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
each_operation = pytest.mark.parametrize(
    "listed", [pytest.param(each, id=f"{each[0]} {each[1]}") for each in LISTED]
)
schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig(seed=1)).exclude(
    path_regex="/events$"
)
schema.config.generation.update(max_examples=EXAMPLES_MAX, deterministic=True)


def request_of_examples(listed: Listed) -> dict[str, Any]:
    """Make the request of the document's own examples; what may be left out is left out."""
    method, path, operation = listed
    params = {"id": "one"} if path in ID_IN_QUERY else {}
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            value = parameter["examples"]["example-1"]["value"]
            path = path.replace(f"{{{parameter['name']}}}", quote(value, safe=""))
    request = {"method": method, "url": path, "params": params}
    if "requestBody" in operation:
        media = operation["requestBody"]["content"]["application/json"]
        request["json"] = media["examples"]["example-1"]["value"]
    return request


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the processes, and what the examples name; return where the gateway is."""
    directory = tmp_path_factory.mktemp("openapi")
    with ExitStack() as stack:

        def start(service: str, **settings: str) -> Process:
            process = Process(service, directory, **settings)
            stack.callback(process.popen.wait)
            stack.callback(process.popen.kill)
            asyncio.run(process.ready())
            return process

        store = start("store", LISTEN=PORT_0, DATABASE_URL=f"sqlite:///{directory}/store.db")
        store_url = f"grpc://{asyncio.run(store.logged('store_listening'))['address']}"
        gateway = start(
            "gateway",
            STORE_URL=store_url,
            LISTEN=PORT_0,
            BRIDGE_LISTEN=PORT_0,
            WAIT_SECONDS_MAX="0.05",
        )
        address = f"http://{asyncio.run(gateway.logged('gateway_started'))['address']}"
        _start_what_examples_name(address)
        yield address


def _start_what_examples_name(address: str) -> None:
    report, file = PARAMETERS["report_id"], PARAMETERS["file"]
    with httpx.Client(base_url=address) as http:
        for promise_id in (f"report/{report}", f"approve/{JOB_ID}", f"file/reports/{file}"):
            http.post("/v1/promises", json={"id": promise_id}).raise_for_status()
        resolve = f"/v1/promises/-/resolve?id=file/reports/{file}"
        http.post(resolve, json={"value": "a,b\r\n"}).raise_for_status()
        for listed in LISTED:
            if listed[0] == "POST" and "404" not in listed[2]["responses"]:
                key = {"Idempotency-Key": "one"} if listed[1] == "/jobs" else {}
                http.request(**request_of_examples(listed), headers=key).raise_for_status()


@schema.parametrize()
def test_every_answer_is_as_documented(case: Any, gateway: str) -> None:
    case.call_and_validate(base_url=gateway, checks=CHECKS)


def test_the_gateway_serves_the_document_that_is_tested(gateway: str) -> None:
    served = httpx.get(f"{gateway}/schema/openapi.json").json()

    assert served == DOCUMENT
    assert served["openapi"].startswith("3.1.")


@each_operation
def test_the_request_of_the_examples_succeeds(listed: Listed, gateway: str) -> None:
    with (
        httpx.Client(base_url=gateway) as http,
        http.stream(**request_of_examples(listed)) as answer,
    ):
        if not listed[1].endswith("/events"):
            answer.read()

    # Other tests settle promises, continue tasks and delete schedules as well; that it was done
    # before is told.
    done_before = {"/v1/tasks/": 409, "/v1/schedules/": 404}
    is_done_before = any(
        listed[1].startswith(path) and answer.status_code == status
        for path, status in done_before.items()
    )
    assert answer.is_success or is_done_before


@each_operation
def test_every_body_has_examples_that_fit_its_schema(listed: Listed) -> None:
    bodies = [listed[2].get("requestBody", {}), *listed[2]["responses"].values()]

    for media in (media for body in bodies for media in body.get("content", {}).values()):
        validator = jsonschema.Draft202012Validator(
            media["schema"] | {"components": DOCUMENT["components"]}
        )
        assert media["examples"]
        for example in media["examples"].values():
            validator.validate(example["value"])


@each_operation
def test_every_operation_tells_what_it_answers_when_all_goes_wrong(listed: Listed) -> None:
    responses = listed[2]["responses"]

    assert {"500", "503"} <= set(responses)
    assert "Retry-After" in responses["503"]["headers"]
    assert ("413" in responses) == ("415" in responses) == ("requestBody" in listed[2])
    assert all(each["description"] for each in responses.values())
