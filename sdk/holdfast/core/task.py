"""Decisions on tasks: the lease, the fence, the suspend.

Guards are evaluated in the order of §3.6 on the task's view; requests have passed `validation`.
"""

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core import promise as promises
from holdfast.core.limits import NOT_BEFORE_SPAN_MS_MAX, saturate
from holdfast.core.profile import EmptyHeartbeat, Profile
from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    ReleaseReason,
    Task,
    TaskState,
    WaitMode,
    is_live,
    project,
    view,
)
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Refusal,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.validation import flaw_of_create, flaw_of_state
from holdfast.core.working_set import WorkingSet


class _Seen(Struct, frozen=True, kw_only=True, gc=False):
    """A task as stored, as it reads now, and its promise."""

    stored: Task
    view: Task
    promise: Promise


def _see(ws: WorkingSet, task_id: str, now_ms: int) -> _Seen | Refusal:
    stored = ws.task(task_id)
    promise = ws.promise(task_id)
    if stored is None or promise is None:
        return Refusal(status=404, code="task_not_found", message=f"there is no task {task_id}")
    return _Seen(stored=stored, view=view(stored, promise, now_ms), promise=promise)


def _refusal_of_lease(seen: _Seen, version: int) -> Refusal | None:
    """409 unless the task is acquired at exactly this version (V5)."""
    task = seen.view
    if task.state is not TaskState.ACQUIRED:
        return Refusal(
            status=409,
            code="task_not_acquired",
            message=f"task {task.id} is {task.state.value}, not acquired",
        )
    if task.version != version:
        return Refusal(
            status=409,
            code="version_conflict",
            message=f"task {task.id} has version {task.version}, not {version}",
        )
    return None


def get(ws: WorkingSet, request: TaskGet, *, now_ms: int) -> Done | Refusal:
    """Read a task."""
    seen = _see(ws, request.id, now_ms)
    return Done(task=seen.view) if isinstance(seen, _Seen) else seen


def _lease(ws: WorkingSet, task: Task, request: TaskCreate | TaskAcquire, *, now_ms: int) -> Task:
    """Grant the lease: the only place where a version grows (V1)."""
    acquired = replace(
        task,
        state=TaskState.ACQUIRED,
        version=task.version + 1,
        resumes=frozenset(),
        ttl_ms=request.ttl_ms,
        pid=request.pid,
        instance=request.instance,
        seat=request.seat,
        lease_at_ms=saturate(now_ms + request.ttl_ms),
        dispatch_at_ms=None,
        queued_at_ms=None,
        deliveries=task.deliveries + 1,
    )
    ws.put_task(acquired)
    return acquired


def create(ws: WorkingSet, request: TaskCreate, *, now_ms: int) -> Done | Refusal:
    """Create a promise and lease its task to the caller, or take an existing pending task."""
    existing = ws.promise(request.action.id)
    if existing is None:
        made = promises.create(ws, request.action, now_ms=now_ms)
        task = ws.task(request.action.id)
        assert task is not None
        if task.state is TaskState.PENDING:
            task = _lease(ws, task, request, now_ms=now_ms)
        return _held(task, made.promise, request, created=True)
    stored = ws.task(existing.id)
    if stored is None:
        return Refusal(
            status=422,
            code="promise_without_task",
            message=f"promise {existing.id} exists without a target, so it has no task",
        )
    seen = view(stored, existing, now_ms)
    if seen.state is TaskState.FULFILLED:
        return _held(seen, project(existing, now_ms), request)
    if seen.state is not TaskState.PENDING:
        _seen_at(ws, stored, instance=request.instance, seat=request.seat)
        return Refusal(
            status=409,
            code="task_already_started",
            message=f"task {seen.id} is {seen.state.value}: its run goes on elsewhere",
        )
    return _held(_lease(ws, stored, request, now_ms=now_ms), existing, request)


def _seen_at(ws: WorkingSet, task: Task, *, instance: str | None, seat: str | None) -> None:
    """Note that the holder of a lease spoke of it on a younger connection than before.

    It was not lost with the old one then: the request that took it was answered to nobody, and the
    holder, which learns of its lease by asking again, must not lose it when the old connection is
    found to be gone. Nothing that anybody can see changes.
    """
    if (
        task.state is TaskState.ACQUIRED
        and task.instance == instance
        and is_younger(seat, than=task.seat)
    ):
        ws.put_task(replace(task, seat=seat))


def is_younger(seat: str | None, *, than: str | None) -> bool:
    """Whether a connection was made after another one; any was made after none.

    A store that stood still may carry out what came in over a connection long after the sender has
    left for another store. That takes nothing along.
    """
    return seat is not None and (than is None or seat > than)


def _held(
    task: Task,
    promise: Promise | None,
    request: TaskCreate | TaskAcquire,
    *,
    created: bool = False,
) -> Done:
    wanted = task.state is TaskState.ACQUIRED and not request.skip_preload
    return Done(task=task, promise=promise, created=created, preload_of=task.id if wanted else None)


def acquire(ws: WorkingSet, request: TaskAcquire, *, now_ms: int) -> Done | Refusal:
    """Lease a pending task at exactly the version that the caller was told."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    if seen.view.state is not TaskState.PENDING:
        return Refusal(
            status=409,
            code="task_not_pending",
            message=f"task {request.id} is {seen.view.state.value}, not pending",
        )
    if seen.view.version != request.version:
        return Refusal(
            status=409,
            code="version_conflict",
            message=f"task {request.id} has version {seen.view.version}, not {request.version}",
        )
    return _held(_lease(ws, seen.stored, request, now_ms=now_ms), seen.promise, request)


def release(
    ws: WorkingSet, request: TaskRelease, *, now_ms: int, profile: Profile
) -> Done | Refusal:
    """Give a lease back; as an unknown function often enough, halt instead (§13)."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    refusal = _refusal_of_lease(seen, request.version)
    if refusal is not None:
        return refusal
    task = seen.stored
    is_unknown = request.reason is ReleaseReason.UNKNOWN_FUNCTION
    unknown = task.unknown_releases + is_unknown
    reason = task.reason if request.reason is None else request.reason.value
    if is_unknown and 0 < profile.unknown_function_releases_max <= unknown:
        ws.put_task(halted(replace(task, unknown_releases=unknown), reason=reason))
        return Done()
    not_before_ms = min(request.not_before_ms or 0, saturate(now_ms + NOT_BEFORE_SPAN_MS_MAX))
    ws.put_task(
        replace(
            released(task, now_ms=now_ms),
            dispatch_at_ms=max(now_ms, not_before_ms),
            paced_until_ms=saturate(now_ms + profile.pacing_ms),
            unknown_releases=unknown,
            reason=reason,
        )
    )
    return Done()


def released(task: Task, *, now_ms: int) -> Task:
    """Answer a task whose lease ended, due now; version and resumes stay (V3)."""
    return replace(
        task,
        state=TaskState.PENDING,
        ttl_ms=None,
        pid=None,
        instance=None,
        seat=None,
        lease_at_ms=None,
        dispatch_at_ms=now_ms,
        paced_until_ms=0,
    )


def halted(task: Task, *, reason: str | None) -> Task:
    """Answer a task that waits for a person; version and resumes stay."""
    return replace(
        task,
        state=TaskState.HALTED,
        ttl_ms=None,
        pid=None,
        instance=None,
        seat=None,
        lease_at_ms=None,
        dispatch_at_ms=None,
        queued_at_ms=None,
        paced_until_ms=0,
        wait_mode=WaitMode.ANY,
        waiting_on=0,
        reason=reason,
    )


def fulfill(ws: WorkingSet, request: TaskFulfill, *, now_ms: int) -> Done | Refusal:
    """Settle the task's own promise, only while the lease holds."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    refusal = _refusal_of_lease(seen, request.version)
    if refusal is not None:
        return refusal
    settled = promises.settle_live(
        ws,
        seen.promise,
        state=request.action.state,
        value=request.action.value,
        settled_at_ms=now_ms,
    )
    promises.discharge(ws, settled, now_ms=now_ms)
    return Done(promise=settled)


def suspend(
    ws: WorkingSet, request: TaskSuspend, *, now_ms: int, profile: Profile
) -> Done | Refusal:
    """Park a task until the awaited promises settle, or redirect when they have (§3.6, §13)."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    refusal = _refusal_of_lease(seen, request.version)
    if refusal is not None:
        return refusal
    awaited: list[Promise] = []
    for action in request.actions:
        promise = ws.promise(action.awaited)
        if promise is None:
            return Refusal(
                status=422,
                code="awaited_not_found",
                message=f"there is no promise {action.awaited} to wait for",
            )
        if not promises.may_be_awaited(promise, profile):
            return promises.not_external(promise.id)
        awaited.append(promise)
    task = seen.stored
    open_ones = [p for p in awaited if is_live(p, now_ms)]
    if _condition_holds(request.wait_mode, awaited, open_ones, now_ms):
        ws.put_task(replace(task, resumes=frozenset()))
        return Done(status=300, preload_of=task.id)
    for promise in open_ones:
        ws.put_callback(Callback(awaited=promise.id, awaiter=task.id, wait_version=task.version))
        promises.arm(ws, promise)
    ws.put_task(
        Task(
            id=task.id,
            state=TaskState.SUSPENDED,
            version=task.version,
            target=task.target,
            wait_mode=request.wait_mode,
            waiting_on=len(open_ones),
        )
    )
    return Done()


def _condition_holds(
    mode: WaitMode, awaited: list[Promise], open_ones: list[Promise], now_ms: int
) -> bool:
    if mode is WaitMode.ANY:
        return len(open_ones) < len(awaited)
    if not open_ones:
        return True
    return mode is WaitMode.ALL_RESOLVED and any(
        project(p, now_ms).state not in {PromiseState.PENDING, PromiseState.RESOLVED}
        for p in awaited
    )


def fence(ws: WorkingSet, request: TaskFence, *, now_ms: int, profile: Profile) -> Done | Refusal:
    """Create or settle another promise, or both, only while the lease holds."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    refusal = _refusal_of_lease(seen, request.version)
    if refusal is not None:
        return refusal
    inner: Done | Refusal
    match request.action:
        case PromiseRecord() as record_:
            flaw = flaw_of_create(record_.create, profile) or flaw_of_state(record_.state)
            inner = flaw or promises.record(ws, record_, now_ms=now_ms)
        case PromiseCreate() as create_:
            inner = flaw_of_create(create_, profile) or promises.create(ws, create_, now_ms=now_ms)
        case PromiseSettle() as settle_:
            inner = flaw_of_state(settle_.state) or promises.settle(ws, settle_, now_ms=now_ms)
    return Done(action=inner, preload_of=None if request.skip_preload else request.id)


def heartbeat(ws: WorkingSet, request: TaskHeartbeat, *, now_ms: int, profile: Profile) -> Done:
    """Extend leases of one process; skip every reference that does not match (V6).

    An empty list extends all leases of the process that the caller may name: those are loaded.
    """
    if request.tasks:
        for ref in request.tasks:
            task = ws.task(ref.id)
            if task is not None and task.version == ref.version:
                _extend(ws, task, request, now_ms)
    elif profile.empty_heartbeat is EmptyHeartbeat.REFRESH_PID:
        for task in list(ws.tasks()):
            if task.id.startswith(request.prefix):
                _extend(ws, task, request, now_ms)
    return Done()


def _extend(ws: WorkingSet, task: Task, request: TaskHeartbeat, now_ms: int) -> None:
    promise = ws.promise(task.id)
    if task.state is not TaskState.ACQUIRED or task.pid != request.pid:
        return
    if promise is None or not is_live(promise, now_ms):
        return
    assert task.ttl_ms is not None
    moves = (
        request.tasks
        and task.instance == request.instance
        and is_younger(request.seat, than=task.seat)
    )
    ws.put_task(
        replace(
            task,
            lease_at_ms=saturate(now_ms + task.ttl_ms),
            seat=request.seat if moves else task.seat,
        )
    )


def halt(ws: WorkingSet, request: TaskHalt, *, now_ms: int) -> Done | Refusal:
    """Stop a task until it is continued; with a version, only while that lease holds."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    if seen.view.state is TaskState.FULFILLED:
        return Refusal(
            status=409, code="task_fulfilled", message=f"task {request.id} has ended already"
        )
    if request.version is not None:
        refusal = _refusal_of_lease(seen, request.version)
        if refusal is not None:
            return refusal
    if seen.stored.state is not TaskState.HALTED:
        ws.put_task(halted(seen.stored, reason=request.reason or "halted"))
    return Done()


def continue_(ws: WorkingSet, request: TaskContinue, *, now_ms: int) -> Done | Refusal:
    """Make a halted task pending and due now."""
    seen = _see(ws, request.id, now_ms)
    if not isinstance(seen, _Seen):
        return seen
    if seen.view.state is not TaskState.HALTED:
        return Refusal(
            status=409,
            code="task_not_halted",
            message=f"task {request.id} is {seen.view.state.value}, not halted",
        )
    ws.put_task(
        replace(
            seen.stored,
            state=TaskState.PENDING,
            dispatch_at_ms=now_ms,
            unknown_releases=0,
            deliveries=0,
            reason=None,
        )
    )
    return Done()
