"""Every operation as a unary call, and every refusal with its code."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from prometheus_client import CollectorRegistry, generate_latest

from holdfast.core.limits import INTEGER_MAX
from holdfast.v1 import admin_pb2 as admin
from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import schedules_pb2 as schedules
from holdfast.v1 import tasks_pb2 as tasks
from holdfast_store.engine import EngineSettings
from tests.integration.rpc.support import FAR_MS, Served, reason_of, retry_ms_of, serve

MODULES = {"Promises": promises, "Tasks": tasks, "Schedules": schedules, "Admin": admin}


class Client:
    """Calls a method by its name with a request in text form."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(self, service: str, method: str, text: str = "") -> Any:
        module = MODULES[service]
        request = text_format.Parse(text, getattr(module, f"{service}{method}Request")())
        call = self._channel.unary_unary(
            f"/holdfast.v1.{service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(module, f"{service}{method}Response").FromString,
        )
        return await call(request)

    async def refusal(self, service: str, method: str, text: str = "") -> tuple[Any, str, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(service, method, text)
        error = caught.value
        return error.code(), reason_of(error), str(error.details())


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
async def call(served: Served) -> AsyncIterator[Client]:
    async with served.channel() as channel:
        yield Client(channel)


def target(promise_id: str) -> str:
    return (
        f'id: "{promise_id}" timeout_at_ms: {FAR_MS}'
        ' tags { key: "resonate:target" value: "poll://any@g" }'
    )


async def test_a_promise_is_created_read_and_settled_once(call: Client) -> None:
    create = f'id: "a" timeout_at_ms: {FAR_MS} param {{ data: "in" headers {{}} }}'
    made = await call("Promises", "Create", create)
    again = await call("Promises", "Create", 'id: "a" timeout_at_ms: 0')
    settled = await call(
        "Promises", "Settle", 'id: "a" state: PROMISE_STATE_RESOLVED value { data: "" }'
    )
    late = await call("Promises", "Settle", 'id: "a" state: PROMISE_STATE_REJECTED')
    read = await call("Promises", "Get", 'id: "a"')

    assert (made.created, again.created) == (True, False)
    assert made.promise == again.promise
    assert made.promise.param == common.Value(data=b"in", headers=common.Headers())
    assert settled.promise.state == common.PROMISE_STATE_RESOLVED
    assert settled.promise.value.HasField("data")
    assert late.promise == settled.promise == read.promise


async def test_a_task_goes_from_its_creation_to_its_end(call: Client) -> None:
    made = await call("Tasks", "Create", f'pid: "p" ttl_ms: 60000 action {{ {target("t")} }}')
    await call("Tasks", "Heartbeat", 'pid: "p" tasks { id: "t" version: 1 }')
    child = f'id: "t.0" timeout_at_ms: {FAR_MS} tags {{ key: "resonate:scope" value: "global" }}'
    fenced = await call("Tasks", "Fence", f'id: "t" version: 1 create {{ {child} }}')
    suspended = await call(
        "Tasks", "Suspend", 'id: "t" version: 1 actions { awaited: "t.0" awaiter: "t" }'
    )
    asleep = await call("Tasks", "Get", 'id: "t"')
    await call("Promises", "Settle", 'id: "t.0" state: PROMISE_STATE_RESOLVED')
    awake = await call("Tasks", "Get", 'id: "t"')
    taken = await call("Tasks", "Acquire", 'id: "t" version: 1 pid: "q" ttl_ms: 60000')
    redirected = await call(
        "Tasks", "Suspend", 'id: "t" version: 2 actions { awaited: "t.0" awaiter: "t" }'
    )
    ended = await call(
        "Tasks", "Fulfill", 'id: "t" version: 2 action { id: "t" state: PROMISE_STATE_REJECTED }'
    )

    assert made.created
    assert (made.task.version, made.task.pid, made.preload.complete) == (1, "p", True)
    assert (fenced.status, fenced.created, fenced.promise.id) == (200, True, "t.0")
    assert not suspended.redirect
    assert asleep.task.state == common.TASK_STATE_SUSPENDED
    assert (awake.task.state, awake.task.resumes) == (common.TASK_STATE_PENDING, 1)
    assert (taken.task.version, taken.promise.id, taken.task.resumes) == (2, "t", 0)
    assert redirected.redirect
    assert ended.promise.state == common.PROMISE_STATE_REJECTED


async def test_a_task_is_released_halted_and_continued(call: Client) -> None:
    await call("Tasks", "Create", f'pid: "p" ttl_ms: 60000 action {{ {target("t")} }}')

    await call("Tasks", "Release", 'id: "t" version: 1 reason: RELEASE_REASON_SHUTDOWN')
    released = await call("Tasks", "Get", 'id: "t"')
    await call("Tasks", "Halt", 'id: "t" reason: "look at me"')
    halted = await call("Tasks", "Get", 'id: "t"')
    await call("Tasks", "Continue", 'id: "t"')
    continued = await call("Tasks", "Get", 'id: "t"')

    assert [task.task.state for task in (released, halted, continued)] == [
        common.TASK_STATE_PENDING,
        common.TASK_STATE_HALTED,
        common.TASK_STATE_PENDING,
    ]


async def test_callbacks_and_listeners_are_registered(call: Client) -> None:
    await call("Promises", "Create", target("t"))
    await call(
        "Promises",
        "Create",
        f'id: "e" timeout_at_ms: {FAR_MS} tags {{ key: "resonate:external" value: "true" }}',
    )

    callback = await call("Promises", "RegisterCallback", 'awaited: "e" awaiter: "t"')
    listener = await call("Promises", "RegisterListener", 'awaited: "e" address: "poll://uni@g/p"')

    assert (callback.promise.id, listener.promise.id) == ("e", "e")


async def test_a_fence_answers_the_refusal_of_its_inside(call: Client) -> None:
    await call("Tasks", "Create", f'pid: "p" ttl_ms: 60000 action {{ {target("t")} }}')

    unknown = await call(
        "Tasks", "Fence", 'id: "t" version: 1 settle { id: "x" state: PROMISE_STATE_RESOLVED }'
    )
    stateless = await call("Tasks", "Fence", 'id: "t" version: 1 settle { id: "x" }')

    assert (unknown.status, unknown.code) == (404, "promise_not_found")
    assert not unknown.HasField("promise")
    assert (stateless.status, stateless.code) == (400, "invalid_state")


HUGE = INTEGER_MAX + 1
LONG = "x" * 1025
TAG = 'tags {{ key: "{}" value: "{}" }}'
MALFORMED = [
    ("Promises", "Get", "", "invalid_text", "id must not be empty"),
    ("Promises", "Get", f'id: "{LONG}"', "invalid_text", "at most 1024 bytes"),
    ("Promises", "Get", r'id: "a\000b"', "invalid_text", "must not contain NUL"),
    ("Promises", "Create", 'id: "a" timeout_at_ms: -1', "out_of_range", "timeout_at_ms"),
    ("Promises", "Create", f'id: "a" timeout_at_ms: {HUGE}', "out_of_range", "timeout_at_ms"),
    (
        "Promises",
        "Create",
        'id: "a" timeout_at_ms: 9 '
        + TAG.format("resonate:timer", "true")
        + TAG.format("resonate:target", "poll://any@g"),
        "timer_with_target",
        "exclude each other",
    ),
    (
        "Promises",
        "Create",
        'id: "a" timeout_at_ms: 9 ' + TAG.format("resonate:target", "nowhere"),
        "invalid_address",
        "absolute URI",
    ),
    (
        "Promises",
        "Create",
        'id: "a" timeout_at_ms: 9 ' + TAG.format("resonate:delay", "5"),
        "invalid_delay",
        "requires the tag",
    ),
    (
        "Promises",
        "Create",
        'id: "a" timeout_at_ms: 9 ' + "".join(TAG.format(n, "v") for n in range(65)),
        "too_many_tags",
        "at most 64",
    ),
    ("Promises", "Settle", 'id: "a"', "invalid_state", "state must be resolved"),
    (
        "Promises",
        "Settle",
        'id: "a" state: PROMISE_STATE_REJECTED_TIMEDOUT',
        "invalid_state",
        "rejected_timedout",
    ),
    ("Promises", "RegisterCallback", 'awaited: "a" awaiter: "a"', "awaits_itself", "differ"),
    ("Promises", "RegisterListener", 'awaited: "a" address: "x"', "invalid_address", "address"),
    ("Tasks", "Create", f'pid: "p" ttl_ms: 0 action {{ {target("t")} }}', "out_of_range", "ttl_ms"),
    ("Tasks", "Create", f"ttl_ms: 1 action {{ {target('t')} }}", "invalid_text", "pid"),
    (
        "Tasks",
        "Create",
        'pid: "p" ttl_ms: 1 action { id: "t" timeout_at_ms: 9 }',
        "target_required",
        "action.tags",
    ),
    ("Tasks", "Acquire", 'id: "t" version: 0 pid: "p"', "out_of_range", "ttl_ms"),
    ("Tasks", "Release", 'id: "t" version: -1', "out_of_range", "version"),
    ("Tasks", "Release", 'id: "t" reason: 42', "invalid_reason", "reason"),
    (
        "Tasks",
        "Fulfill",
        'id: "t" version: 1 action { id: "u" state: PROMISE_STATE_RESOLVED }',
        "id_mismatch",
        "action.id",
    ),
    ("Tasks", "Suspend", 'id: "t" version: 1', "empty_suspend", "actions"),
    ("Tasks", "Suspend", 'id: "t" wait_mode: 42', "invalid_wait_mode", "wait_mode"),
    (
        "Tasks",
        "Suspend",
        'id: "t" actions { awaited: "a" awaiter: "u" }',
        "awaiter_mismatch",
        "awaiter",
    ),
    ("Tasks", "Fence", 'id: "t" version: 1', "action_required", "action"),
    ("Tasks", "Fence", f'id: "t" create {{ {target("t")} }}', "fences_itself", "action.id"),
    ("Tasks", "Heartbeat", "", "invalid_text", "pid"),
    ("Tasks", "Heartbeat", 'pid: "p" tasks { version: 1 }', "invalid_text", "tasks.id"),
    ("Tasks", "Halt", f'id: "t" reason: "{LONG}"', "reason_too_long", "1024 bytes"),
    ("Tasks", "Continue", "", "invalid_text", "id"),
    ("Admin", "GetQueues", 'groups: ""', "invalid_text", "groups"),
    ("Admin", "GetQueues", 'groups: "g" ' * 1001, "too_many_groups", "at most 1000"),
]


@pytest.mark.parametrize(
    ("service", "method", "text", "reason", "words"),
    MALFORMED,
    ids=[f"{case[1]}-{case[3]}-{index}" for index, case in enumerate(MALFORMED)],
)
async def test_malformed_requests_are_refused_before_anything_is_looked_up(
    call: Client, service: str, method: str, text: str, reason: str, words: str
) -> None:
    code, code_name, sentence = await call.refusal(service, method, text)

    assert (code, code_name) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert words in sentence


@pytest.mark.parametrize(
    ("service", "method", "text", "code", "reason"),
    [
        ("Promises", "Get", 'id: "no"', grpc.StatusCode.NOT_FOUND, "promise_not_found"),
        ("Tasks", "Get", 'id: "e"', grpc.StatusCode.NOT_FOUND, "task_not_found"),
        ("Tasks", "Continue", 'id: "t"', grpc.StatusCode.ABORTED, "task_not_halted"),
        ("Tasks", "Release", 'id: "t" version: 9', grpc.StatusCode.ABORTED, "task_not_acquired"),
        (
            "Tasks",
            "Acquire",
            'id: "t" version: 9 pid: "p" ttl_ms: 1',
            grpc.StatusCode.ABORTED,
            "version_conflict",
        ),
        (
            "Promises",
            "RegisterCallback",
            'awaited: "t" awaiter: "e"',
            grpc.StatusCode.FAILED_PRECONDITION,
            "awaiter_without_task",
        ),
    ],
)
async def test_rules_refuse_with_their_code(
    call: Client, service: str, method: str, text: str, code: grpc.StatusCode, reason: str
) -> None:
    await call("Promises", "Create", target("t"))
    await call("Promises", "Create", f'id: "e" timeout_at_ms: {FAR_MS}')

    assert (await call.refusal(service, method, text))[:2] == (code, reason)


async def test_a_value_beyond_the_limit_is_refused_by_name(served: Served) -> None:
    async with served.channel() as channel:
        create: Any = channel.unary_unary(
            "/holdfast.v1.Promises/Create",
            request_serializer=promises.PromisesCreateRequest.SerializeToString,
        )
        param = common.Value(data=b"x" * 1_048_577)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await create(promises.PromisesCreateRequest(id="a", timeout_at_ms=1, param=param))

    assert reason_of(caught.value) == "value_too_large"
    assert "param must have at most 1048576 bytes" in str(caught.value.details())


async def test_a_message_beyond_the_limit_is_refused(served: Served) -> None:
    async with served.channel() as channel:
        create: Any = channel.unary_unary("/holdfast.v1.Promises/Create")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await create(b"x" * (4 * 1024 * 1024 + 1))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_name_of_many_bytes_comes_back_in_an_error_whole_enough(call: Client) -> None:
    promise_id = "😀" * 256

    code, reason, sentence = await call.refusal("Promises", "Get", f'id: "{promise_id}"')

    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "promise_not_found")
    assert sentence.startswith("there is no promise 😀")


async def test_a_full_queue_says_when_to_come_back() -> None:
    full = EngineSettings(queue_operations_max=0)
    async with serve(engine_settings=full) as served, served.channel() as channel:
        get: Any = channel.unary_unary(
            "/holdfast.v1.Promises/Get",
            request_serializer=promises.PromisesGetRequest.SerializeToString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(promises.PromisesGetRequest(id="a"))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(caught.value) == "overloaded"
    assert retry_ms_of(caught.value) == 100


async def test_a_store_that_stops_is_unavailable(served: Served, call: Client) -> None:
    await served.engine.stop(grace_s=1)

    code, reason, _ = await call.refusal("Promises", "Get", 'id: "a"')

    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "store_stopping")


async def test_requests_are_counted_under_both_names(served: Served, call: Client) -> None:
    await call("Promises", "Create", f'id: "a" timeout_at_ms: {FAR_MS}')
    await call.refusal("Promises", "Get", 'id: "no"')

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in served.metrics.collect()
        for sample in family.samples
    }
    for name in ("holdfast_store_requests_total", "resonate_request_total"):
        assert samples[name, "promise.create", "200"] == 1
        assert samples[name, "promise.get", "404"] == 1
    assert samples["resonate_request_duration_seconds_count", "promise.create"] == 1


async def test_promises_are_listed_by_all_filters(call: Client) -> None:
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        await call(
            "Promises",
            "Create",
            f'id: "{name}" timeout_at_ms: {FAR_MS} tags {{ key: "team" value: "{team}" }}',
        )
    await call("Promises", "Settle", 'id: "c" state: PROMISE_STATE_RESOLVED')
    team = 'tags { key: "team" value: "x" }'

    first = await call("Promises", "Search", f"{team} limit: 1")
    second = await call("Promises", "Search", f'{team} limit: 1 cursor: "{first.cursor}"')
    resolved = await call("Promises", "Search", "state: PROMISE_STATE_RESOLVED")

    assert [each.id for each in (*first.promises, *second.promises)] == ["a", "c"]
    assert (first.cursor, second.cursor, resolved.cursor) == ("a", "", "")
    assert list(resolved.promises) == [(await call("Promises", "Get", 'id: "c"')).promise]


async def test_tasks_are_listed_by_state(call: Client, served: Served) -> None:
    for name in ("a", "b"):
        await call("Promises", "Create", target(name))
    await call("Tasks", "Halt", 'id: "b"')

    halted = await call("Tasks", "Search", "state: TASK_STATE_HALTED")
    every = await call("Tasks", "Search")

    assert list(halted.tasks) == [(await call("Tasks", "Get", 'id: "b"')).task]
    assert [each.id for each in every.tasks] == ["a", "b"]
    assert 'holdfast_store_requests_total{operation="task.search",status="200"} 2.0' in scraped(
        served
    )


@pytest.mark.parametrize("service", ["Promises", "Tasks"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("limit: -1", "out_of_range"),
        ("limit: 1001", "out_of_range"),
        ("limit: 2147483647", "out_of_range"),
        ("state: 99", "invalid_state"),
        ("state: -1", "invalid_state"),
    ],
)
async def test_a_wrong_filter_is_refused(
    call: Client, service: str, text: str, reason: str
) -> None:
    code, found, _ = await call.refusal(service, "Search", text)

    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def scraped(served: Served) -> str:
    registry = CollectorRegistry()
    registry.register(served.metrics)
    return generate_latest(registry).decode()


PLAN = """
    id: "nightly" cron: "30 3 * * mon" promise_id: "{{.id}}-{{.timestamp}}" promise_timeout_ms: 5
    promise_param { data: "in" headers {} } time_zone: "Europe/Berlin"
    promise_tags { key: "resonate:target" value: "poll://any@g" }
"""


async def test_a_schedule_is_made_once_paused_listed_and_deleted(call: Client) -> None:
    made = await call("Schedules", "Create", PLAN)
    again = await call("Schedules", "Create", PLAN.replace("30 3", "0 0"))
    read = await call("Schedules", "Get", 'id: "nightly"')
    paused = await call("Schedules", "Pause", 'id: "nightly" paused: true')
    tags = 'tags { key: "resonate:target" value: "poll://any@g" }'
    listed = await call("Schedules", "Search", tags)
    await call("Schedules", "Delete", 'id: "nightly"')

    assert (made.created, again.created) == (True, False)
    assert made.schedule == again.schedule == read.schedule
    assert made.schedule.cron == "30 3 * * mon"
    assert made.schedule.promise_param == common.Value(data=b"in", headers=common.Headers())
    assert made.schedule.next_run_at_ms > made.schedule.created_at_ms
    assert not made.schedule.HasField("last_run_at_ms")
    assert paused.schedule.paused
    assert list(listed.schedules) == [paused.schedule]
    assert listed.cursor == ""
    for method in ("Get", "Delete", "Pause"):
        code, reason, _ = await call.refusal("Schedules", method, 'id: "nightly"')
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "schedule_not_found")


@pytest.mark.parametrize(
    ("method", "text", "reason", "named"),
    [
        ("Create", PLAN.replace("30 3 * * mon", "often"), "invalid_cron", "five fields"),
        ("Create", PLAN.replace("Europe/Berlin", "Berlin"), "invalid_time_zone", "IANA"),
        ("Create", PLAN.replace("resonate:target", "a"), "target_required", "promise_tags"),
        ("Get", "", "invalid_text", "id"),
        ("Search", "limit: 1001", "out_of_range", "1000"),
    ],
)
async def test_what_is_wrong_with_a_schedule_is_named(
    call: Client, method: str, text: str, reason: str, named: str
) -> None:
    code, found, details = await call.refusal("Schedules", method, text)

    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert named in details
