"""The small pure parts of the gateway: ids, labels, waits, keys, schemas."""

import uuid
from typing import Any

import msgspec
import pytest

from holdfast_gateway import html, metrics
from holdfast_gateway.bodies import convert
from holdfast_gateway.errors import Problem
from holdfast_gateway.openapi import operation
from holdfast_gateway.paths import id_from_path
from holdfast_gateway.request_id import take_request_id
from holdfast_gateway.routes import jobs, orders, waiting
from holdfast_gateway.settings import GatewaySettings, url_prefix


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("a", "a"),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),  # decoded once only
        ("caf%C3%A9", "café"),
        ("a+b", "a+b"),
        ("%FF", "%FF"),  # no UTF-8
    ],
)
def test_ids_in_paths_are_decoded_once(encoded: str, decoded: str) -> None:
    assert id_from_path(encoded) == decoded


def test_a_sane_request_id_is_kept() -> None:
    assert take_request_id([(b"host", b"x"), (b"x-request-id", b"abc-1.2")]) == "abc-1.2"


@pytest.mark.parametrize("wild", [b"", b"a b", b"a\nb", b"x" * 129, b"\xff"])
def test_a_wild_request_id_is_replaced(wild: bytes) -> None:
    taken = take_request_id([(b"x-request-id", wild)])

    assert uuid.UUID(taken).version == 4


def test_methods_are_a_closed_set_of_labels() -> None:
    assert metrics.method_label("GET") == "GET"
    assert metrics.method_label("BREW") == "other"


@pytest.mark.parametrize("value", ["", "/apps", "/a/b-c_1"])
def test_a_prefix_of_plain_segments_is_accepted(value: str) -> None:
    assert url_prefix(value) == value


@pytest.mark.parametrize("value", ["apps", "/apps/", "/", "/a//b", "/{x}", "/a b"])
def test_any_other_prefix_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be empty or begin with a slash"):
        url_prefix(value)


def test_applications_are_mounted_below_the_prefix_by_name() -> None:
    assert GatewaySettings().prefix_of("orders") == ""
    assert GatewaySettings(apps_prefix="/apps").prefix_of("orders") == "/apps/orders"


@pytest.mark.parametrize(("text", "seconds"), [(None, 0), ("0", 0), ("2.5", 2.5), ("60", 60)])
def test_a_wait_is_a_number_of_seconds(text: str | None, seconds: float) -> None:
    assert waiting.parse_wait(text, 60) == seconds


@pytest.mark.parametrize("text", ["", "-1", "60.1", "nan", "inf", "1e9", "five"])
def test_any_other_wait_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        waiting.parse_wait(text, 60)

    assert caught.value.code == "invalid_wait"


def test_an_idempotency_key_names_one_job_per_workflow() -> None:
    first = jobs._uuid_of("process-job", "key-1")

    assert first == jobs._uuid_of("process-job", "key-1")
    assert first != jobs._uuid_of("process-job", "key-2")
    assert first != jobs._uuid_of("aggregate", "key-1")


def test_jobs_without_a_key_are_all_different() -> None:
    assert jobs._uuid_of("process-job", None) != jobs._uuid_of("process-job", None)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é"])
def test_a_key_that_is_not_visible_ascii_is_refused(key: str) -> None:
    with pytest.raises(Problem) as caught:
        jobs._uuid_of("process-job", key)

    assert caught.value.code == "invalid_idempotency_key"


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"id": "", "customer": {}, "items": [1]},
        {"id": "a", "items": [1]},
        {"id": "a", "customer": None, "items": [1]},
        {"id": "a", "customer": {}, "items": []},
        {"id": "a", "customer": {}},
    ],
)
def test_an_order_without_a_required_field_is_noticed(value: object) -> None:
    assert orders._is_missing_something(value)


def test_an_empty_customer_is_present() -> None:
    assert not orders._is_missing_something({"id": "a", "customer": {}, "items": [1]})


def test_a_field_that_does_not_fit_is_named() -> None:
    value = {"id": "a", "items": [{"sku": "s", "qty": "2", "price": 1}], "customer": {}}

    with pytest.raises(Problem) as caught:
        convert(value, orders.Order)

    assert caught.value.code == "invalid_body"
    assert "$.items[0].qty" in caught.value.detail


def test_what_is_put_into_a_page_is_escaped() -> None:
    assert "<script>" not in html.page("<script>", html.escape("<script>"))


def test_the_schema_of_a_body_stands_alone() -> None:
    documented: Any = operation(orders.Order)()

    schema = documented.request_body.content["application/json"].schema

    assert b"$ref" not in msgspec.json.encode(schema)
    assert schema["properties"]["items"]["items"]["properties"]["qty"]["minimum"] == 1
