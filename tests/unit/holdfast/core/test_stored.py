"""What a snapshot shows of stored rows, and what only the store may know."""

import pytest
from msgspec.structs import replace

from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
)
from holdfast.core.stored import StoredState, has_execute, lease_at_ms, public, retry_at_ms

PENDING = Task(id="t", target="poll://any@g", dispatch_at_ms=50)
ACQUIRED = Task(
    id="t",
    target="poll://any@g",
    state=TaskState.ACQUIRED,
    version=3,
    resumes=frozenset({"a"}),
    ttl_ms=10,
    pid="p",
    lease_at_ms=60,
    instance="i",
    seat="s",
    deliveries=2,
    reason="crashed",
)


def promise(promise_id: str, *, armed: bool, state: PromiseState = PromiseState.PENDING) -> Promise:
    return Promise(id=promise_id, timeout_at_ms=9, created_at_ms=1, armed=armed, state=state)


def schedule(schedule_id: str, *, paused: bool) -> Schedule:
    return Schedule(
        id=schedule_id,
        cron="* * * * *",
        promise_id="x",
        promise_timeout_ms=1,
        created_at_ms=1,
        next_run_at_ms=60_000,
        paused=paused,
    )


def test_only_pending_promises_whose_deadline_fires_have_a_timeout() -> None:
    over = promise("over", armed=True, state=PromiseState.RESOLVED)

    state = StoredState.of(
        promises=[promise("armed", armed=True), promise("quiet", armed=False), over]
    )

    assert state.promise_timeouts == {"armed": 9}
    assert state.promises.keys() == {"armed", "quiet", "over"}
    assert not any(each.armed for each in state.promises.values())


def test_what_ties_a_lease_to_a_connection_is_not_shown() -> None:
    elsewhere = replace(ACQUIRED, instance=None, seat=None, deliveries=9, reason=None)

    assert public(ACQUIRED) == public(elsewhere)
    assert public(ACQUIRED).resumes == {"a"}
    assert StoredState.of(tasks=[ACQUIRED]).task_leases == {"t": 60}


@pytest.mark.parametrize(
    ("task", "retry", "lease", "execute"),
    [
        (PENDING, 50, None, False),
        (replace(PENDING, paced_until_ms=70), 70, None, False),
        (replace(PENDING, queued_at_ms=40), 50, None, True),
        (ACQUIRED, None, 60, False),
        (replace(PENDING, state=TaskState.SUSPENDED, dispatch_at_ms=None), None, None, False),
        (replace(PENDING, state=TaskState.HALTED, dispatch_at_ms=None), None, None, False),
    ],
)
def test_a_task_has_the_timer_of_its_state(
    task: Task, retry: int | None, lease: int | None, *, execute: bool
) -> None:
    assert (retry_at_ms(task), lease_at_ms(task), has_execute(task)) == (retry, lease, execute)


def test_obligations_messages_and_schedules_are_named() -> None:
    state = StoredState.of(
        tasks=[replace(PENDING, queued_at_ms=40, version=2)],
        callbacks=[Callback(awaited="a", awaiter="t", wait_version=1)],
        listeners=[("a", "poll://uni@g/c")],
        unblocks=[Unblock(promise_id="b", address="poll://uni@g/c", enqueued_at_ms=1)],
        schedules=[schedule("on", paused=False), schedule("off", paused=True)],
    )

    assert state.callbacks == {("a", "t")}
    assert state.listeners == {("a", "poll://uni@g/c")}
    assert state.executes == {("poll://any@g", "t", 2)}
    assert state.unblocks == {("poll://uni@g/c", "b")}
    assert state.schedules.keys() == {"on", "off"}
    assert state.schedule_timeouts == {"on": 60_000}
