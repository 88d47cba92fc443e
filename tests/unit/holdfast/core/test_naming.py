"""Which ids an operation names, and what of an answer is about ids with a prefix."""

import pytest

from holdfast.core.naming import done_within, names_of
from holdfast.core.records import Preload, Promise, PromiseState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
    TaskSuspend,
)

CREATE = PromiseCreate(id="inner", timeout_at_ms=1)
SETTLE = PromiseSettle(id="inner", state=PromiseState.RESOLVED)
AWAITS = tuple(PromiseRegisterCallback(awaited=f"on{n}", awaiter=f"by{n}") for n in (1, 2))

NAMES: list[tuple[Request, set[str]]] = [
    (PromiseGet(id="p"), {"p"}),
    (PromiseCreate(id="p", timeout_at_ms=1), {"p"}),
    (PromiseSettle(id="p", state=PromiseState.RESOLVED), {"p"}),
    (PromiseRegisterCallback(awaited="on", awaiter="by"), {"on", "by"}),
    (PromiseRegisterListener(awaited="on", address="poll://uni@g/x"), {"on"}),
    (TaskGet(id="t"), {"t"}),
    (TaskCreate(pid="p", ttl_ms=1, action=CREATE), {"inner"}),
    (TaskAcquire(id="t", version=1, pid="p", ttl_ms=1), {"t"}),
    (TaskRelease(id="t", version=1), {"t"}),
    (TaskFulfill(id="t", version=1, action=SETTLE), {"t", "inner"}),
    (TaskSuspend(id="t", version=1, actions=AWAITS), {"t", "on1", "by1", "on2", "by2"}),
    (TaskSuspend(id="t", version=1, actions=()), {"t"}),
    (TaskFence(id="t", version=1, action=CREATE), {"t", "inner"}),
    (TaskFence(id="t", version=1, action=SETTLE), {"t", "inner"}),
    (
        TaskFence(
            id="t", version=1, action=PromiseRecord(create=CREATE, state=PromiseState.RESOLVED)
        ),
        {"t", "inner"},
    ),
    (
        TaskHeartbeat(pid="p", tasks=(TaskRef(id="a", version=1), TaskRef(id="b", version=1))),
        {*"ab"},
    ),
    (TaskHeartbeat(pid="p"), set()),
    (TaskHalt(id="t"), {"t"}),
    (TaskContinue(id="t"), {"t"}),
    (ScheduleGet(id="s"), {"s"}),
    (
        ScheduleCreate(
            id="s", cron="* * * * *", promise_id="{{.id}}/{{.timestamp}}", promise_timeout_ms=1
        ),
        {"s", "s/{{.timestamp}}"},
    ),
    (ScheduleDelete(id="s"), {"s"}),
    (SchedulePause(id="s", paused=True), {"s"}),
]


@pytest.mark.parametrize(("request_", "names"), NAMES)
def test_every_id_counts_also_the_inner_ones(request_: Request, names: set[str]) -> None:
    assert set(names_of(request_)) == names


def test_every_operation_of_the_core_names_something() -> None:
    assert {type(request) for request, _ in NAMES} == set(Request.__args__)


def test_what_is_left_out_of_a_preload_is_not_said_to_be_absent() -> None:
    promises = tuple(Promise(id=i, timeout_at_ms=1, created_at_ms=0) for i in ("a/1", "b/1"))
    done = Done(preload=Preload(promises=promises, complete=True))

    bounded = done_within(done, "a/")

    assert bounded.preload == Preload(promises=promises[:1], complete=False)
    assert done_within(done, "") is done
    assert done_within(Done(), "a/") == Done()
