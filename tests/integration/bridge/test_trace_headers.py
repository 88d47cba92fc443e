"""The trace of a caller's request goes to the worker, in the promise that the request makes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.bridge.system import FAR, Client, create, inner, name, task_create

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
TARGET = "poll://any@traced"


@contextmanager
def inside(client: Client, trace: str) -> Iterator[str]:
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    client.http.headers["traceparent"] = parent
    yield parent
    del client.http.headers["traceparent"]


def param(client: Client, promise_id: str) -> Any:
    return client("promise.get", {"id": promise_id}).promise["param"]


def test_each_way_to_make_work_carries_the_trace(client: Client) -> None:
    by_promise, by_task, by_fence = name(), name(), name()
    with inside(client, TRACE) as parent:
        client("promise.create", create(by_promise, resonate_target=TARGET))
        client("task.create", task_create(by_task, target=TARGET))
        remote = inner("promise.create", create(by_fence, resonate_target=TARGET))
        client("task.fence", {"id": by_task, "version": 1, "action": remote})

    for promise_id in (by_promise, by_task, by_fence):
        assert param(client, promise_id) == {"headers": {"traceparent": parent}}


def test_what_a_client_wrote_itself_counts(client: Client) -> None:
    promise_id = name()
    value = {"data": "MQ==", "headers": {"traceparent": "its own", "x": "y"}}
    with inside(client, TRACE):
        request = create(promise_id, resonate_target=TARGET)
        client("promise.create", {**request, "param": value})

    assert param(client, promise_id) == value


def test_what_no_worker_runs_stays_as_it_was_sent(client: Client) -> None:
    external, sleep = name(), name()
    tags = {"resonate:timer": "true", "resonate:target": TARGET, "resonate:scope": "global"}
    with inside(client, TRACE):
        client("promise.create", create(external, resonate_external="true"))
        client("promise.create", {"id": sleep, "timeoutAt": FAR, "tags": tags})

    assert param(client, external) == param(client, sleep) == {}


def test_the_same_request_in_another_trace_makes_nothing_new(client: Client) -> None:
    promise_id = name()
    request = create(promise_id, resonate_target=TARGET)
    with inside(client, TRACE) as parent:
        first = client("promise.create", request)
    with inside(client, OTHER):
        second = client("promise.create", request)
    third = client("promise.create", request)

    assert first.data == second.data == third.data
    assert first.promise["param"] == {"headers": {"traceparent": parent}}


def test_a_request_without_a_trace_is_stored_as_it_is(client: Client) -> None:
    promise_id = name()
    for parent in (None, "no trace"):
        if parent is not None:
            client.http.headers["traceparent"] = parent
        client("promise.create", create(promise_id, resonate_target=TARGET))

        assert param(client, promise_id) == {}
        promise_id = name()
