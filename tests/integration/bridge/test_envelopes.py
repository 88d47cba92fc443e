"""The order of admission, row by row, and what is echoed (§1.2 to §1.4)."""

import json
from typing import Any

import pytest

from tests.integration.bridge.guard import check_response
from tests.integration.bridge.system import FAR, VERSION, Client, System, create, name
from tests.traces.traces import Envelope, difference_of, envelopes

HEAD = {"corrId": "x", "version": VERSION}
GET = {"kind": "promise.get", "head": HEAD, "data": {"id": "a"}}


def without(member: str, whole: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in whole.items() if key != member}


@pytest.mark.parametrize("trace", [e for e in envelopes() if e.path == "/"], ids=str)
def test_envelopes_are_answered_as_in_the_worked_traces(
    trace: Envelope, client: Client, timed: Client
) -> None:
    assert trace.body is not None

    answer = (timed if trace.debug else client).post(trace.body.encode())

    body = answer.json()
    check_response(body)
    assert answer.status_code == trace.status
    assert difference_of(trace.answer, body, "answer") is None


@pytest.mark.parametrize(
    ("body", "kind", "corr_id"),
    [
        (b"", "unknown", "0"),
        (b"{", "unknown", "0"),
        (b"[]", "unknown", "0"),
        (b"null", "unknown", "0"),
        (b"\xff\xfe", "unknown", "0"),
        (b'"promise.get"', "unknown", "0"),
        (b"[" * 100_000, "unknown", "0"),
        (b"NaN", "unknown", "0"),
        ({}, "unknown", "0"),
        (without("kind", GET), "unknown", "x"),
        ({**GET, "kind": None}, "unknown", "x"),
        ({**GET, "kind": 7}, "unknown", "x"),
        ({**GET, "kind": ""}, "", "x"),
        (without("head", GET), "promise.get", "0"),
        ({**GET, "head": []}, "promise.get", "0"),
        ({**GET, "head": {"version": VERSION}}, "promise.get", "0"),
        ({**GET, "head": {"corrId": 7, "version": VERSION}}, "promise.get", "0"),
        ({**GET, "head": {"corrId": "x"}}, "promise.get", "x"),
        ({**GET, "head": {"corrId": "x", "version": 20260401}}, "promise.get", "x"),
        ({**GET, "head": {"corrId": "x", "version": "2026-04-02"}}, "promise.get", "x"),
        ({**GET, "head": {**HEAD, "auth": 7}}, "promise.get", "x"),
        (without("data", GET), "promise.get", "x"),
        ({**GET, "data": None}, "promise.get", "x"),
        ({**GET, "data": "id"}, "promise.get", "x"),
    ],
)
def test_what_is_no_envelope_is_refused_with_what_could_be_read_of_it(
    body: Any, kind: str, corr_id: str, client: Client
) -> None:
    answer = client.post(body if isinstance(body, bytes) else json.dumps(body).encode())

    check_response(answer.json())
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["kind"], answer.json()["head"]["corrId"]) == (kind, corr_id)


def test_members_that_nobody_knows_and_hints_are_ignored(client: Client) -> None:
    promise_id = name()

    made = client(
        "promise.create",
        {**create(promise_id), "more": [{}], "param": {"data": "MQ==", "more": 1}},
        more={"resonate:origin": "anything", "resonate:debug_time": -1.5, "auth": None},
    )

    assert made.status == 200
    assert made.promise["param"] == {"data": "MQ=="}


def test_null_is_as_good_as_absent(client: Client) -> None:
    made = client("promise.create", {"id": name(), "timeoutAt": FAR, "param": None, "tags": None})
    headed = client(
        "promise.create",
        {"id": name(), "timeoutAt": FAR, "param": {"headers": None, "data": None}},
    )
    found = client("promise.search", {"state": None, "tags": None, "limit": None, "cursor": None})

    assert (made.promise["param"], made.promise["tags"]) == ({}, {})
    assert headed.promise["param"] == {}
    assert found.status == 200


def test_payloads_come_back_as_they_were_sent(client: Client) -> None:
    """Empty headers are not absent ones, and any text that JSON can hold is a payload."""
    text = 'a\x00\n\u2028\U0001f600"\\'
    param = {"headers": {"": text, "k\x00": ""}, "data": text}

    made = client("promise.create", {"id": name(), "timeoutAt": FAR, "param": param})
    bare = client("promise.create", {"id": name(), "timeoutAt": FAR, "param": {"headers": {}}})
    empty = client("promise.create", {"id": name(), "timeoutAt": FAR, "param": {"data": ""}})

    assert made.promise["param"] == param
    assert bare.promise["param"] == {"headers": {}}
    assert empty.promise["param"] == {"data": ""}


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"\\ud800","timeoutAt":1}',
        b'{"id":"a","timeoutAt":1,"param":{"data":"\\udc00"}}',
        b'{"id":"a","timeoutAt":1,"tags":{"\\ud800":"x"}}',
        b'{"id":"a","timeoutAt":1,"unknown":["\\ud800"]}',
    ],
)
def test_lone_surrogates_are_refused_wherever_they_are(body: bytes, client: Client) -> None:
    head = json.dumps(HEAD).encode()

    answer = client.post(b'{"kind":"promise.create","head":' + head + b',"data":' + body + b"}")

    assert answer.status_code == 400
    assert answer.json()["head"]["corrId"] == "x"


def test_a_kind_is_known_before_its_fields_are_judged(client: Client) -> None:
    assert client("promise.fly", {"id": 7}).status == 400
    assert client("debug.tick", {"time": "soon"}).status == 403
    assert client("debug.messages", {}).status == 400


def test_what_is_no_request_of_the_protocol_is_not_counted(system: System, client: Client) -> None:
    def total() -> float:
        return system.counted("resonate_request_total")

    before = total()
    client.post(b"{")
    client.post(json.dumps({**GET, "data": []}).encode())
    not_counted = total()
    client("promise.get", {"id": name()})
    client("promise.get", {"id": 7})
    client("promise.fly", {})

    assert not_counted == before
    assert total() == before + 3
    assert system.counted("resonate_request_total", kind="promise.get", status="404") >= 1
    assert system.counted("resonate_request_total", kind="promise.get", status="400") >= 1
    assert system.counted("resonate_request_total", kind="unknown", status="400") >= 1
    assert system.counted("resonate_request_duration_seconds_bucket", kind="promise.get") >= 1
