"""Decisions on promises: create, get, settle, and the obligations that a settlement discharges.

Guards are evaluated in the order of §2.9; requests have passed `validation` before.
"""

from msgspec.structs import replace

from holdfast.core.profile import AwaitInternal, Profile
from holdfast.core.records import (
    DELAY,
    TARGET,
    Callback,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Unblock,
    Value,
    WaitMode,
    deadline_verdict,
    fulfilled,
    is_armed_by_birth,
    is_external,
    is_live,
    project,
)
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
)
from holdfast.core.working_set import WorkingSet


def promise_not_found(promise_id: str) -> Refusal:
    """404 for an id that no promise has."""
    return Refusal(
        status=404, code="promise_not_found", message=f"there is no promise {promise_id}"
    )


def get(ws: WorkingSet, request: PromiseGet, *, now_ms: int) -> Done | Refusal:
    """Read a promise."""
    promise = ws.promise(request.id)
    if promise is None:
        return promise_not_found(request.id)
    return Done(promise=project(promise, now_ms))


def create(ws: WorkingSet, request: PromiseCreate, *, now_ms: int) -> Done:
    """Create a promise, or answer the one that exists: nothing is compared (§2.9)."""
    existing = ws.promise(request.id)
    if existing is not None:
        return Done(promise=project(existing, now_ms))
    promise = born(request, now_ms=now_ms)
    ws.put_promise(promise)
    target = request.tags.get(TARGET)
    if target is not None:
        ws.put_task(_born_task(request, promise, target=target, now_ms=now_ms))
    return Done(promise=promise, created=True)


def born(request: PromiseCreate, *, now_ms: int) -> Promise:
    """Make a new promise; one whose deadline has passed is born settled, dated by its deadline."""
    if request.timeout_at_ms > now_ms:
        return Promise(
            id=request.id,
            param=request.param,
            tags=request.tags,
            timeout_at_ms=request.timeout_at_ms,
            created_at_ms=now_ms,
            armed=is_armed_by_birth(request.tags),
        )
    return Promise(
        id=request.id,
        state=deadline_verdict(request.tags),
        param=request.param,
        tags=request.tags,
        timeout_at_ms=request.timeout_at_ms,
        created_at_ms=request.timeout_at_ms,
        settled_at_ms=request.timeout_at_ms,
    )


def _born_task(request: PromiseCreate, promise: Promise, *, target: str, now_ms: int) -> Task:
    if promise.state is not PromiseState.PENDING:
        return Task(id=request.id, state=TaskState.FULFILLED, target=target)
    delay = request.tags.get(DELAY)
    dispatch_at_ms = now_ms if delay is None else max(int(delay), now_ms)
    return Task(id=request.id, target=target, dispatch_at_ms=dispatch_at_ms)


def settle(ws: WorkingSet, request: PromiseSettle, *, now_ms: int) -> Done | Refusal:
    """Settle a pending promise; answer any other as it is."""
    promise = ws.promise(request.id)
    if promise is None:
        return promise_not_found(request.id)
    if not is_live(promise, now_ms):
        return Done(promise=project(promise, now_ms))
    settled = settle_live(
        ws, promise, state=request.state, value=request.value, settled_at_ms=now_ms
    )
    discharge(ws, settled, now_ms=now_ms)
    return Done(promise=settled)


def record(ws: WorkingSet, request: PromiseRecord, *, now_ms: int) -> Done:
    """Create a promise and settle it, as far as either is still to be done."""
    done = create(ws, request.create, now_ms=now_ms)
    promise = done.promise
    assert promise is not None
    if promise.state is not PromiseState.PENDING:
        return done
    settled = settle_live(
        ws, promise, state=request.state, value=request.value, settled_at_ms=now_ms
    )
    discharge(ws, settled, now_ms=now_ms)
    return Done(promise=settled, created=done.created)


def settle_live(
    ws: WorkingSet, promise: Promise, *, state: PromiseState, value: Value, settled_at_ms: int
) -> Promise:
    """Store a settlement together with the end of the promise's own task (T18).

    The caller discharges the obligations, after everything that settles at this instant.
    """
    assert promise.state is PromiseState.PENDING
    settled = replace(promise, state=state, value=value, settled_at_ms=settled_at_ms, armed=False)
    ws.put_promise(settled)
    task = ws.task(promise.id)
    if task is not None and task.state is not TaskState.FULFILLED:
        ws.put_task(fulfilled(task))
    return settled


def discharge(ws: WorkingSet, settled: Promise, *, now_ms: int) -> None:
    """Tell everybody who waits for a settled promise (§4.1)."""
    for address in ws.take_listeners(settled.id):
        ws.put_unblock(Unblock(promise_id=settled.id, address=address, enqueued_at_ms=now_ms))
    for callback in ws.take_callbacks(settled.id):
        _wake(ws, callback, settled, now_ms=now_ms)


def _wake(ws: WorkingSet, callback: Callback, settled: Promise, *, now_ms: int) -> None:
    task = ws.task(callback.awaiter)
    promise = ws.promise(callback.awaiter)
    if task is None or promise is None:
        return
    # A dead awaiter is never made pending again ("no dead dispatch", T20): its deadline owns it.
    if task.state is TaskState.FULFILLED or not is_live(promise, now_ms):
        return
    if task.state is not TaskState.SUSPENDED:
        ws.put_task(replace(task, resumes=task.resumes | {settled.id}))
        return
    if task.wait_mode is not WaitMode.ANY:
        if callback.wait_version != task.version:
            return  # left over from an earlier wait; this suspend did not ask for it
        hurt = (
            task.wait_mode is WaitMode.ALL_RESOLVED and settled.state is not PromiseState.RESOLVED
        )
        if task.waiting_on > 1 and not hurt:
            ws.put_task(replace(task, waiting_on=task.waiting_on - 1))
            return
    ws.put_task(
        replace(
            task,
            state=TaskState.PENDING,
            resumes=frozenset({settled.id}),
            dispatch_at_ms=now_ms,
            wait_mode=WaitMode.ANY,
            waiting_on=0,
        )
    )


def may_be_awaited(promise: Promise, profile: Profile) -> bool:
    """Whether a promise may carry obligations (§2.4)."""
    return profile.await_internal is AwaitInternal.ALLOW or is_external(promise.tags, profile)


def not_external(promise_id: str) -> Refusal:
    """422 for an obligation on a promise that only its own execution settles."""
    return Refusal(
        status=422,
        code="promise_not_external",
        message=f"promise {promise_id} is internal: nobody but its own execution may await it",
    )


def arm(ws: WorkingSet, promise: Promise) -> None:
    """Make the deadline of a promise that now carries an obligation fire by itself (§2.5)."""
    if not promise.armed:
        ws.put_promise(replace(promise, armed=True))


def register_callback(
    ws: WorkingSet, request: PromiseRegisterCallback, *, now_ms: int, profile: Profile
) -> Done | Refusal:
    """Make the awaiter's task wake when the awaited promise settles (§2.9)."""
    awaited = ws.promise(request.awaited)
    if awaited is None:
        return promise_not_found(request.awaited)
    awaiter = ws.promise(request.awaiter)
    if awaiter is None or awaiter.target is None:
        return Refusal(
            status=422,
            code="awaiter_without_task",
            message=f"awaiter {request.awaiter} must be a promise with a target",
        )
    if not may_be_awaited(awaited, profile):
        return not_external(request.awaited)
    if is_live(awaited, now_ms) and is_live(awaiter, now_ms):
        if ws.callback(awaited.id, awaiter.id) is None:
            ws.put_callback(Callback(awaited=awaited.id, awaiter=awaiter.id))
        arm(ws, awaited)
    return Done(promise=project(awaited, now_ms))


def register_listener(
    ws: WorkingSet, request: PromiseRegisterListener, *, now_ms: int, profile: Profile
) -> Done | Refusal:
    """Promise one message to an address; for a settled promise the answer is the message."""
    awaited = ws.promise(request.awaited)
    if awaited is None:
        return promise_not_found(request.awaited)
    if not may_be_awaited(awaited, profile):
        return not_external(request.awaited)
    if is_live(awaited, now_ms):
        ws.put_listener(awaited.id, request.address)
        arm(ws, awaited)
    return Done(promise=project(awaited, now_ms))
