"""A lease stands for the connection on which its holder was last seen to have it."""

import pytest

from holdfast.core import steps
from holdfast.core import task as tasks
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import Promise, Task, TaskState
from holdfast.core.requests import PromiseCreate, Refusal, TaskCreate, TaskHeartbeat, TaskRef
from holdfast.core.working_set import WorkingSet

FAR_MS = 1_000_000
TARGET = "poll://any@w"


def leased(task_id: str, *, seat: str | None, instance: str | None = "i", version: int = 1) -> Task:
    return Task(
        id=task_id,
        state=TaskState.ACQUIRED,
        version=version,
        target=TARGET,
        pid="p",
        ttl_ms=100,
        lease_at_ms=100,
        instance=instance,
        seat=seat,
    )


def working_set(*leases: Task) -> WorkingSet:
    promises = [
        Promise(id=t.id, timeout_at_ms=FAR_MS, created_at_ms=0, tags={"resonate:target": TARGET})
        for t in leases
    ]
    return WorkingSet(promises=promises, tasks=leases, callbacks=[], listeners=[])


def states(ws: WorkingSet) -> dict[str, tuple[str, str | None]]:
    return {t.id: (t.state.value, t.seat) for t in ws.tasks()}


def test_a_lost_connection_costs_only_the_leases_that_stand_for_it() -> None:
    ws = working_set(
        leased("lost", seat="a"),
        leased("elsewhere", seat="b"),
        leased("old", seat=None),
        leased("restarted", seat="a", instance="j"),
    )

    count = steps.release_instance(ws, pid="p", instance="i", seat="a", now_ms=10)

    assert count == 1
    assert states(ws) == {
        "lost": ("pending", None),
        "elsewhere": ("acquired", "b"),
        "old": ("acquired", None),
        "restarted": ("acquired", "a"),
    }


def test_a_process_that_is_gone_for_good_loses_them_wherever_they_were_taken() -> None:
    ws = working_set(leased("a", seat="a"), leased("b", seat="b"), leased("old", seat=None))

    assert steps.release_instance(ws, pid="p", instance="i", now_ms=10) == 3


@pytest.mark.parametrize("seat", ["a", None])
def test_what_a_member_holds_follows_it_to_its_seat(seat: str | None) -> None:
    ws = working_set(
        leased("held", seat=seat),
        leased("unknown", seat=seat),
        leased("stale", seat=seat, version=2),
        leased("other", seat=seat, instance="j"),
    )

    count = steps.seat_instance(
        ws,
        pid="p",
        instance="i",
        seat="b",
        held=frozenset({("held", 1), ("stale", 1)}),
        now_ms=10,
    )

    assert count == 2
    assert states(ws) == {
        "held": ("acquired", "b"),
        "unknown": ("pending", None),
        "stale": ("pending", None),
        "other": ("acquired", seat),
    }


def test_a_member_that_does_not_say_what_it_holds_keeps_all() -> None:
    ws = working_set(leased("x", seat="a"), leased("y", seat=None))

    count = steps.seat_instance(ws, pid="p", instance="i", seat="b", held=None, now_ms=10)

    assert count == 0
    assert set(states(ws).values()) == {("acquired", "b")}


def test_what_is_seated_already_is_not_written_again() -> None:
    ws = working_set(leased("x", seat="b"))

    steps.seat_instance(ws, pid="p", instance="i", seat="b", held=frozenset({("x", 1)}), now_ms=10)

    assert not ws.changes().tasks_updated


def test_a_join_that_comes_late_takes_nothing_from_a_younger_connection() -> None:
    """The store stood still before it seated the member, which has long been elsewhere."""
    ws = working_set(
        leased("moved", seat="c"), leased("younger", seat="c"), leased("old", seat="a")
    )

    count = steps.seat_instance(
        ws, pid="p", instance="i", seat="b", held=frozenset({("moved", 1)}), now_ms=10
    )

    assert count == 1
    assert states(ws) == {
        "moved": ("acquired", "c"),
        "younger": ("acquired", "c"),
        "old": ("pending", None),
    }


def create(**fields: object) -> TaskCreate:
    action = PromiseCreate(id="x", timeout_at_ms=FAR_MS, tags={"resonate:target": TARGET})
    return TaskCreate(pid="p", ttl_ms=100, action=action, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("instance", "seat", "after"),
    [("i", "b", "b"), ("j", "b", "a"), (None, None, "a"), ("i", "0", "a")],
)
def test_a_request_that_is_sent_again_elsewhere_takes_its_lease_along(
    instance: str | None, seat: str | None, after: str
) -> None:
    """It is refused all the same, and nothing that anybody sees has changed."""
    ws = working_set(leased("x", seat="a"))

    outcome = tasks.create(ws, create(instance=instance, seat=seat), now_ms=10)

    assert isinstance(outcome, Refusal)
    assert outcome.code == "task_already_started"
    assert states(ws) == {"x": ("acquired", after)}


@pytest.mark.parametrize(
    ("refs", "instance", "seat", "after"),
    [
        (1, "i", "b", "b"),
        (1, "j", "b", "a"),
        (1, None, None, "a"),
        (1, "i", "0", "a"),
        (0, "i", "b", "a"),
    ],
)
def test_a_heartbeat_that_names_a_lease_takes_it_along(
    refs: int, instance: str | None, seat: str | None, after: str
) -> None:
    """One without references may come from a process that knows nothing of the lease."""
    ws = working_set(leased("x", seat="a"))
    request = TaskHeartbeat(
        pid="p", tasks=(TaskRef(id="x", version=1),) * refs, instance=instance, seat=seat
    )

    tasks.heartbeat(ws, request, now_ms=10, profile=DEFAULT_PROFILE)

    assert states(ws) == {"x": ("acquired", after)}
    [task] = ws.tasks()
    assert task.lease_at_ms == 110
