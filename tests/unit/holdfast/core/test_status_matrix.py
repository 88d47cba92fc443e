"""Every operation on a task in every state (§3.7), with the right version and with wrong ones."""

from collections.abc import Callable, Mapping

import pytest

from holdfast.core.requests import (
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
)
from tests.unit.holdfast.core.build import (
    EXT,
    TGT,
    acquire,
    create,
    done,
    fence,
    fulfill,
    seen,
    settle,
    status_of,
    suspend,
    task_create,
)
from tests.unit.holdfast.core.machine import Machine

DEADLINE_MS = 1_000
NOW_MS = 100
VERSION = 1

OPERATIONS: Mapping[str, Callable[[int], Request]] = {
    "get": lambda _: TaskGet(id="x"),
    "create": lambda _: task_create("x", pid="p2", timeout_at_ms=DEADLINE_MS),
    "acquire": lambda version: acquire("x", version, pid="p2"),
    "release": lambda version: TaskRelease(id="x", version=version),
    "fulfill": lambda version: fulfill("x", version),
    "suspend": lambda version: suspend("x", version, "a"),
    "suspend on a settled": lambda version: suspend("x", version, "a", "settled"),
    "suspend on an internal": lambda version: suspend("x", version, "settled", "internal"),
    "suspend on an unknown": lambda version: suspend("x", version, "settled", "unknown"),
    "fence": lambda version: fence("x", version, create("x.1", timeout_at_ms=DEADLINE_MS)),
    "heartbeat": lambda version: TaskHeartbeat(pid="p1", tasks=(TaskRef(id="x", version=version),)),
    "halt": lambda _: TaskHalt(id="x"),
    "continue": lambda _: TaskContinue(id="x"),
}
FENCED = [
    name
    for name in OPERATIONS
    if name.partition(" ")[0] in {"acquire", "release", "fulfill", "suspend", "fence"}
]

STATES = ["none", "pending", "acquired", "suspended", "halted", "fulfilled"]
MATRIX: Mapping[str, tuple[int, ...]] = {
    "get": (404, 200, 200, 200, 200, 200),
    "create": (200, 200, 409, 409, 409, 200),
    "acquire": (404, 200, 409, 409, 409, 409),
    "release": (404, 409, 200, 409, 409, 409),
    "fulfill": (404, 409, 200, 409, 409, 409),
    "suspend": (404, 409, 200, 409, 409, 409),
    "suspend on a settled": (404, 409, 300, 409, 409, 409),
    "suspend on an internal": (404, 409, 422, 409, 409, 409),
    "suspend on an unknown": (404, 409, 422, 409, 409, 409),
    "fence": (404, 409, 200, 409, 409, 409),
    "heartbeat": (200, 200, 200, 200, 200, 200),
    "halt": (404, 200, 200, 200, 200, 409),
    "continue": (404, 409, 409, 409, 200, 409),
}


def machine_with(state: str) -> Machine:
    """Make a machine whose task `x` is in a state, at version 1 unless it does not exist."""
    machine = Machine()
    machine.do(create("a", EXT), now_ms=0)
    machine.do(create("settled", EXT), now_ms=0)
    machine.do(create("internal"), now_ms=0)
    machine.do(settle("settled"), now_ms=1)
    if state == "none":
        return machine
    machine.do(create("x", TGT, timeout_at_ms=DEADLINE_MS), now_ms=2)
    machine.do(acquire("x", 0), now_ms=3)
    ways: Mapping[str, Request | None] = {
        "pending": TaskRelease(id="x", version=VERSION),
        "acquired": None,
        "suspended": suspend("x", VERSION, "a"),
        "halted": TaskHalt(id="x"),
        "fulfilled": fulfill("x", VERSION),
    }
    way = ways[state]
    if way is not None:
        done(machine.do(way, now_ms=4))
    assert machine.task("x").state == state
    return machine


@pytest.mark.parametrize("operation", list(MATRIX))
def test_an_operation_on_a_task_is_answered_by_its_state(operation: str) -> None:
    request = OPERATIONS[operation](VERSION)

    statuses = [status_of(machine_with(state).do(request, now_ms=NOW_MS)) for state in STATES]

    assert dict(zip(STATES, statuses, strict=True)) == dict(
        zip(STATES, MATRIX[operation], strict=True)
    )


@pytest.mark.parametrize("version", [0, 2, 2**53 - 1])
@pytest.mark.parametrize("operation", FENCED)
def test_a_wrong_version_is_a_conflict_in_every_state(operation: str, version: int) -> None:
    for state in STATES[1:]:
        machine = machine_with(state)
        before = machine.state

        outcome = machine.do(OPERATIONS[operation](version), now_ms=NOW_MS)

        assert status_of(outcome) == 409, state
        assert machine.state == before


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_a_task_whose_promise_is_past_its_deadline_reads_fulfilled(operation: str) -> None:
    """The deadline wins before any sweep has run, for every stored state."""
    for state in STATES[1:]:
        machine = machine_with(state)
        before = machine.state

        outcome = machine.do(OPERATIONS[operation](VERSION), now_ms=DEADLINE_MS)

        assert status_of(outcome) == MATRIX[operation][STATES.index("fulfilled")], state
        assert machine.state == before


@pytest.mark.parametrize("state", STATES[1:])
def test_get_and_create_show_the_dead_task_as_fulfilled(state: str) -> None:
    machine = machine_with(state)

    got = done(machine.do(TaskGet(id="x"), now_ms=DEADLINE_MS))
    found = done(machine.do(task_create("x", timeout_at_ms=DEADLINE_MS), now_ms=DEADLINE_MS))

    assert got.task is not None
    assert found.task is not None
    assert seen(got.task) == seen(found.task) == ("fulfilled", VERSION, 0, None, None)
    assert found.preload_of is None


@pytest.mark.parametrize(("state", "version"), [("none", 1), ("pending", 2), ("fulfilled", 1)])
def test_create_counts_the_version_only_when_it_grants_the_lease(state: str, version: int) -> None:
    machine = machine_with(state)

    outcome = done(machine.do(task_create("x"), now_ms=NOW_MS))

    assert outcome.task is not None
    assert outcome.task.version == version
