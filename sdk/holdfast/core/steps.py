"""What the store does by itself: deadlines, dispatch, lost leases.

Each step re-checks its own condition, so that an early, late or doubled call is harmless (§3.8).
"""

from collections.abc import Iterable

from msgspec.structs import replace

from holdfast.core import promise as promises
from holdfast.core import task as tasks
from holdfast.core.limits import saturate
from holdfast.core.profile import Profile
from holdfast.core.records import (
    EMPTY,
    PromiseState,
    Task,
    TaskState,
    deadline_verdict,
    is_live,
)
from holdfast.core.working_set import WorkingSet


def expire_promises(ws: WorkingSet, ids: Iterable[str], *, now_ms: int) -> int:
    """Settle promises whose deadline has passed; answer how many.

    All are settled before the first obligation is discharged, so that an awaiter that dies at the
    same instant is never made pending again (§4.1).
    """
    settled = []
    for promise_id in ids:
        promise = ws.promise(promise_id)
        if promise is None or promise.state is not PromiseState.PENDING:
            continue
        if promise.timeout_at_ms > now_ms:
            continue
        settled.append(
            promises.settle_live(
                ws,
                promise,
                state=deadline_verdict(promise.tags),
                value=EMPTY,
                settled_at_ms=promise.timeout_at_ms,
            )
        )
    for promise in settled:
        promises.discharge(ws, promise, now_ms=now_ms)
    return len(settled)


def expire_leases(ws: WorkingSet, ids: Iterable[str], *, now_ms: int) -> int:
    """Make tasks pending whose lease has run out; answer how many."""
    expired = 0
    for task_id in ids:
        task = _live(ws, task_id, now_ms)
        if task is None or task.lease_at_ms is None or task.lease_at_ms > now_ms:
            continue
        ws.put_task(tasks.released(task, now_ms=now_ms))
        expired += 1
    return expired


def release_instance(
    ws: WorkingSet,
    *,
    pid: str,
    instance: str,
    now_ms: int,
    seat: str | None = None,
) -> int:
    """Give back the leases of one start of a process (§13); answer how many.

    With a seat, only those that stand and fall with that connection: the process may live on, and
    has then been seen elsewhere with what it holds.
    """
    lost = _leases(ws, pid, instance)
    return _give_back(ws, [t for t in lost if seat in (None, t.seat)], now_ms)


def seat_instance(
    ws: WorkingSet,
    *,
    pid: str,
    instance: str,
    seat: str,
    held: frozenset[tuple[str, int]] | None,
    now_ms: int,
) -> int:
    """Let what a process holds stand and fall with another connection of it; answer what is lost.

    `held` is what the process knows of, as id and version. What it does not know of is given back:
    the push was lost with the connection that carried it. Without `held` all is kept. What has
    moved to a younger connection already is left alone: the list is older than that.
    """
    lost = []
    for task in _leases(ws, pid, instance):
        if not tasks.is_younger(seat, than=task.seat):
            continue
        if held is not None and (task.id, task.version) not in held:
            lost.append(task)
        else:
            ws.put_task(replace(task, seat=seat))
    return _give_back(ws, lost, now_ms)


def _leases(ws: WorkingSet, pid: str, instance: str) -> list[Task]:
    return [
        task
        for task in ws.tasks()
        if task.state is TaskState.ACQUIRED and task.pid == pid and task.instance == instance
    ]


def _give_back(ws: WorkingSet, lost: Iterable[Task], now_ms: int) -> int:
    count = 0
    for task in lost:
        if _live(ws, task.id, now_ms) is not None:
            ws.put_task(replace(tasks.released(task, now_ms=now_ms), reason="crashed"))
            count += 1
    return count


def dispatch(ws: WorkingSet, ids: Iterable[str], *, now_ms: int, profile: Profile) -> int:
    """Enqueue the execute message of pending tasks that are due; answer how many.

    The next one is due a retry interval later, should nobody acquire the task until then.
    """
    enqueued = 0
    for task_id in ids:
        task = _live(ws, task_id, now_ms)
        if task is None or task.state is not TaskState.PENDING or task.queued_at_ms is not None:
            continue
        assert task.dispatch_at_ms is not None
        if max(task.dispatch_at_ms, task.paced_until_ms) > now_ms:
            continue
        ws.put_task(
            replace(
                task,
                queued_at_ms=now_ms,
                dispatch_at_ms=saturate(now_ms + profile.retry_interval_ms),
            )
        )
        enqueued += 1
    return enqueued


def claim_execute(ws: WorkingSet, task_id: str, *, now_ms: int, profile: Profile) -> Task | None:
    """Take the execute message of a task out of the outbox, for a member that is offered it.

    Should nobody acquire, the retry timer enqueues it again; a timer that became due while the
    message waited is moved forward first, and none fires within the pace of an offer (§4.3).
    """
    task = ws.task(task_id)
    if task is None or task.queued_at_ms is None:
        return None
    assert task.dispatch_at_ms is not None
    dispatch_at_ms = task.dispatch_at_ms
    if dispatch_at_ms <= now_ms:
        dispatch_at_ms = saturate(now_ms + profile.retry_interval_ms)
    claimed = replace(
        task,
        queued_at_ms=None,
        dispatch_at_ms=dispatch_at_ms,
        paced_until_ms=saturate(now_ms + profile.pacing_ms),
    )
    ws.put_task(claimed)
    return claimed


def _live(ws: WorkingSet, task_id: str, now_ms: int) -> Task | None:
    """Answer the task, unless its promise's deadline owns it."""
    task = ws.task(task_id)
    promise = ws.promise(task_id)
    if task is None or promise is None or not is_live(promise, now_ms):
        return None
    return task
