"""Rules broken on purpose: each mutation makes a named invariant or an observation fail.

A scenario passes on the real rules and must not pass on the mutated ones. The mutation replaces a
name inside a module of the core; the checks keep their own, so that they judge by the true rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from holdfast.core import promise as promises
from holdfast.core import steps
from holdfast.core import task as tasks
from holdfast.core.profile import Profile
from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Task,
    TaskState,
    WaitMode,
    is_live,
    project,
)
from holdfast.core.requests import (
    Done,
    PromiseGet,
    Refusal,
    TaskAcquire,
    TaskCreate,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.working_set import WorkingSet
from tests.unit.holdfast.core.build import (
    EXT,
    LOCAL,
    TGT,
    acquire,
    callback,
    create,
    fence,
    fulfill,
    heartbeat,
    listener,
    promise_of,
    settle,
    status_of,
    suspend,
    task_create,
)
from tests.unit.holdfast.core.machine import InvariantBroken, Machine, wire

Scenario = Callable[[Machine], None]

# What happens


def a_stale_worker_writes(machine: Machine) -> None:
    """p1's lease lapsed and p2 took over; then p1 comes back."""
    machine.do(task_create("x", ttl_ms=10), now_ms=0)
    machine.tick(10)
    machine.do(acquire("x", 1, pid="p2"), now_ms=11)
    machine.do(fence("x", 1, create("x.1")), now_ms=12)


def a_stale_worker_fulfils(machine: Machine) -> None:
    machine.do(task_create("x", ttl_ms=10), now_ms=0)
    machine.tick(10)
    machine.do(fulfill("x", 1), now_ms=12)


def a_promise_is_settled_at_its_deadline(machine: Machine) -> None:
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)
    machine.do(settle("a", "resolved", "late"), now_ms=100)


def a_promise_is_read_at_its_deadline(machine: Machine) -> None:
    """Compare answers, as a trace does, not states."""
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)
    read = promise_of(machine.do(PromiseGet(id="a"), now_ms=100))
    machine.tick(100)
    assert wire(read) == wire(machine.promise("a"))


def a_dead_awaiter_is_awaited(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(task_create("x", timeout_at_ms=100), now_ms=0)
    machine.do(suspend("x", 1, "a"), now_ms=1)
    machine.do(settle("a"), now_ms=100)


def timers_fire_after_the_deadline(machine: Machine) -> None:
    machine.do(create("x", TGT, timeout_at_ms=100), now_ms=0)
    machine.do(task_create("y", ttl_ms=50, timeout_at_ms=100), now_ms=0)
    profile = machine.profile
    machine.internal(lambda ws: steps.dispatch(ws, ["x"], now_ms=100, profile=profile), now_ms=100)
    machine.internal(lambda ws: steps.expire_leases(ws, ["y"], now_ms=100), now_ms=100)


def a_task_is_acquired(machine: Machine) -> None:
    machine.do(create("x", TGT), now_ms=0)
    machine.do(acquire("x", 0), now_ms=1)


def a_task_with_resumes_is_acquired(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(create("x", TGT), now_ms=0)
    machine.do(callback("a", "x"), now_ms=0)
    machine.do(settle("a"), now_ms=1)
    machine.do(acquire("x", 0), now_ms=2)


def a_suspend_is_redirected(machine: Machine) -> None:
    for promise_id in ("a", "b"):
        machine.do(create(promise_id, EXT), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    machine.do(settle("a"), now_ms=1)
    assert status_of(machine.do(suspend("x", 1, "a", "b"), now_ms=2)) == 300


def a_suspended_task_is_woken(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    machine.do(suspend("x", 1, "a"), now_ms=1)
    machine.do(listener("a"), now_ms=1)
    machine.do(settle("a"), now_ms=2)


def an_all_wait_ends(machine: Machine) -> None:
    for promise_id in ("a", "b"):
        machine.do(create(promise_id, EXT), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    machine.do(suspend("x", 1, "a", "b", mode=WaitMode.ALL_SETTLED), now_ms=1)
    machine.do(settle("a"), now_ms=2)
    machine.do(settle("b"), now_ms=3)


def another_process_sends_a_heartbeat(machine: Machine) -> None:
    machine.do(task_create("x", pid="p1"), now_ms=0)
    machine.do(heartbeat("p2", ("x", 1)), now_ms=5)


def a_deadline_gets_a_listener(machine: Machine) -> None:
    machine.do(create("a", LOCAL), now_ms=0)
    machine.do(listener("a"), now_ms=1)


def a_task_is_released(machine: Machine) -> None:
    machine.do(task_create("x"), now_ms=0)
    machine.do(TaskRelease(id="x", version=1), now_ms=5)


# What is broken


def _unfenced(*_: object) -> None:
    return None


def _live_at_the_deadline(promise: Promise, now_ms: int) -> bool:
    return promise.state is PromiseState.PENDING and promise.timeout_at_ms >= now_ms


def _projected_after_the_deadline(promise: Promise, now_ms: int) -> Promise:
    return project(promise, now_ms - 1)


def _live_while_stored_pending(promise: Promise, _: int) -> bool:
    return promise.state is PromiseState.PENDING


def _any_task(ws: WorkingSet, task_id: str, _: int) -> Task | None:
    return ws.task(task_id)


_lease = tasks._lease
_suspend = tasks.suspend
_released = tasks.released


def _lease_without_a_new_version(
    ws: WorkingSet, task: Task, request: TaskCreate | TaskAcquire, *, now_ms: int
) -> Task:
    leased = replace(_lease(ws, task, request, now_ms=now_ms), version=task.version)
    ws.put_task(leased)
    return leased


def _lease_with_old_resumes(
    ws: WorkingSet, task: Task, request: TaskCreate | TaskAcquire, *, now_ms: int
) -> Task:
    leased = replace(_lease(ws, task, request, now_ms=now_ms), resumes=task.resumes)
    ws.put_task(leased)
    return leased


def _redirect_that_registers(
    ws: WorkingSet, request: TaskSuspend, *, now_ms: int, profile: Profile
) -> Done | Refusal:
    outcome = _suspend(ws, request, now_ms=now_ms, profile=profile)
    for action in request.actions:
        awaited = ws.promise(action.awaited)
        if outcome.status == 300 and awaited is not None and is_live(awaited, now_ms):
            ws.put_callback(
                Callback(awaited=action.awaited, awaiter=request.id, wait_version=request.version)
            )
    return outcome


def _callbacks_stay(self: WorkingSet, awaited: str) -> tuple[Callback, ...]:
    return self.callbacks(awaited)


def _listeners_stay(self: WorkingSet, promise_id: str) -> tuple[str, ...]:
    return self.listeners(promise_id)


def _wake_that_keeps_its_wait(
    ws: WorkingSet, callback: Callback, settled: Promise, *, now_ms: int
) -> None:
    task = ws.task(callback.awaiter)
    assert task is not None
    resumes = frozenset({settled.id})
    ws.put_task(replace(task, state=TaskState.PENDING, resumes=resumes, dispatch_at_ms=now_ms))


def _nobody_wakes(*_: object, **__: object) -> None:
    return None


def _extends_anybodys(ws: WorkingSet, task: Task, _: str, now_ms: int) -> None:
    ws.put_task(replace(task, lease_at_ms=now_ms + (task.ttl_ms or 0)))


def _released_with_its_holder(task: Task, *, now_ms: int) -> Task:
    return replace(_released(task, now_ms=now_ms), pid=task.pid)


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """What is replaced, by what, in which scenario it shows, and the rules that notice."""

    target: object
    name: str
    by: Callable[..., object]
    scenario: Scenario
    rules: frozenset[str]
    """Empty when a plain assertion of the scenario notices."""


def mutation(
    target: object, name: str, by: Callable[..., object], scenario: Scenario, *rules: str
) -> Mutation:
    return Mutation(target=target, name=name, by=by, scenario=scenario, rules=frozenset(rules))


MUTATIONS: Mapping[str, Mutation] = {
    "fence check removed, create": mutation(
        tasks, "_refusal_of_lease", _unfenced, a_stale_worker_writes, "V5"
    ),
    "fence check removed, fulfil": mutation(
        tasks, "_refusal_of_lease", _unfenced, a_stale_worker_fulfils, "V5", "T7"
    ),
    "deadline boundary moved, settle": mutation(
        promises, "is_live", _live_at_the_deadline, a_promise_is_settled_at_its_deadline, "I5", "T4"
    ),
    "deadline boundary moved, read": mutation(
        promises, "project", _projected_after_the_deadline, a_promise_is_read_at_its_deadline
    ),
    "no dead dispatch removed, wake": mutation(
        promises, "is_live", _live_while_stored_pending, a_dead_awaiter_is_awaited, "T14", "T20"
    ),
    "no dead dispatch removed, timers": mutation(
        steps, "_live", _any_task, timers_fire_after_the_deadline, "T20"
    ),
    "version not incremented": mutation(
        tasks, "_lease", _lease_without_a_new_version, a_task_is_acquired, "T6", "I11"
    ),
    "300 registers callbacks": mutation(
        tasks, "suspend", _redirect_that_registers, a_suspend_is_redirected, "T15"
    ),
    "waking without clearing the callbacks": mutation(
        WorkingSet, "take_callbacks", _callbacks_stay, a_suspended_task_is_woken, "H1", "T16"
    ),
    "waking without clearing the listeners": mutation(
        WorkingSet, "take_listeners", _listeners_stay, a_suspended_task_is_woken, "H1", "T21"
    ),
    "waking without clearing the wait": mutation(
        promises, "_wake", _wake_that_keeps_its_wait, a_suspended_task_is_woken, "H4"
    ),
    "an all wait that any wakes": mutation(
        promises, "_wake", _wake_that_keeps_its_wait, an_all_wait_ends, "T14"
    ),
    "nobody is woken": mutation(
        promises, "_wake", _nobody_wakes, a_suspended_task_is_woken, "T16", "I19"
    ),
    "acquiring keeps the resumes": mutation(
        tasks, "_lease", _lease_with_old_resumes, a_task_with_resumes_is_acquired, "T13"
    ),
    "heartbeats of others count": mutation(
        tasks, "_extend", _extends_anybodys, another_process_sends_a_heartbeat, "V6"
    ),
    "obligations do not arm": mutation(
        promises, "arm", _unfenced, a_deadline_gets_a_listener, "H2"
    ),
    "release keeps the holder": mutation(
        tasks, "released", _released_with_its_holder, a_task_is_released, "I11", "T9"
    ),
}


@pytest.mark.parametrize("name", list(MUTATIONS))
def test_a_broken_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = MUTATIONS[name]
    broken.scenario(Machine())  # passes on the real rules
    monkeypatch.setattr(broken.target, broken.name, broken.by)

    with pytest.raises(AssertionError) as noticed:
        broken.scenario(Machine())

    found = noticed.value.rules if isinstance(noticed.value, InvariantBroken) else set()
    assert broken.rules <= found
    assert bool(broken.rules) == bool(found)
