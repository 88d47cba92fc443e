"""Which rows a request may touch, and which of them it creates unless they exist."""

import pytest

from holdfast.core.decide import Keys
from holdfast.core.records import PromiseState
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleGet,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskRef,
    TaskSuspend,
)

CREATE = PromiseCreate(id="t.1", timeout_at_ms=1)
SETTLE = PromiseSettle(id="t.1", state=PromiseState.RESOLVED)
RECORD = PromiseRecord(create=CREATE, state=PromiseState.RESOLVED)
AWAITED = PromiseRegisterCallback(awaited="t.1", awaiter="t")


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        (TaskFence(id="t", version=1, action=CREATE), Keys(ids={"t", "t.1"}, created={"t.1"})),
        (TaskFence(id="t", version=1, action=RECORD), Keys(ids={"t", "t.1"}, created={"t.1"})),
        (TaskFence(id="t", version=1, action=SETTLE), Keys(ids={"t", "t.1"})),
        (TaskFulfill(id="t", version=1, action=SETTLE), Keys(ids={"t"})),
        (TaskCreate(pid="p", ttl_ms=1, action=CREATE), Keys(ids={"t.1"}, created={"t.1"})),
        (TaskSuspend(id="t", version=1, actions=(AWAITED,)), Keys(ids={"t", "t.1"})),
        (TaskHeartbeat(pid="p", tasks=(TaskRef(id="t", version=1),)), Keys(ids={"t"})),
        (TaskHeartbeat(pid="p"), Keys(pids={"p"})),
        (CREATE, Keys(ids={"t.1"}, created={"t.1"})),
        (SETTLE, Keys(ids={"t.1"})),
        (PromiseGet(id="t"), Keys(ids={"t"})),
        (AWAITED, Keys(ids={"t", "t.1"})),
        (PromiseRegisterListener(awaited="t", address="poll://any@g"), Keys(ids={"t"})),
        (ScheduleGet(id="s"), Keys(schedules={"s"})),
    ],
    ids=repr,
)
def test_a_request_names_what_it_may_touch_and_what_it_creates(
    request_: Request, keys: Keys
) -> None:
    found = Keys()

    found.add(request_)

    assert found == keys
