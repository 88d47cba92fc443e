"""What is stored, as it reads now: of the model, and of the product's rows.

Records are projected, since a store may write a passed deadline down when it likes. The states of
tasks are compared as they are stored too: both sides write at the same points, and a dead task that
was made pending, or one that outlives its promise, reads fulfilled in any case.
"""

from holdfast.core.records import PromiseState, TaskState, project, view
from holdfast.core.stored import StoredState
from tests.differential.plays import Picture
from tests.differential.translation import promise_record, schedule_record, task_record
from tests.model.model import Model
from tests.model.records import ACQUIRED, PENDING, TARGET


def picture_of_model(model: Model, now: int) -> Picture:
    """Show the model."""
    views = [model.view(task, now) for task in model.tasks.values()]
    promises = model.promises.values()
    return {
        "promises": {p.id: model.read_promise(p, now) for p in promises},
        "tasks": {v.id: v.record() for v in views},
        "resumes": {v.id: sorted(v.resumes) for v in views},
        "rows": {task.id: task.state for task in model.tasks.values()},
        "callbacks": {(p.id, awaiter) for p in promises for awaiter in p.callbacks},
        "listeners": {(p.id, address) for p in promises for address in p.listeners},
        "leases": {v.id: v.expires_at for v in views if v.state == ACQUIRED},
        "pending": {v.id for v in views if v.retry_at is not None},
        "executes": {
            (v.id, v.version, model.executes[v.id]["address"])
            for v in views
            if v.state == PENDING and v.id in model.executes
        },
        "due": {
            (task.id, task.version, model.promises[task.id].tags[TARGET])
            for task in model.tasks.values()
            if model.is_dispatch_due(task, now)
        },
        "unblocks": set(model.unblocks),
        "schedules": {s.id: s.record() for s in model.schedules.values()},
        "armed": {p.id for p in promises if model.is_armed(p) and not model.is_past(p, now)},
    }


def picture_of_state(state: StoredState, now: int) -> Picture:
    """Show what the product stores."""
    seen = {i: project(promise, now) for i, promise in state.promises.items()}
    views = [view(task, seen[i], now) for i, task in state.tasks.items()]
    live = {v.id for v in views if v.state is not TaskState.FULFILLED}
    pending = {v.id: v.version for v in views if v.state is TaskState.PENDING}
    return {
        "promises": {p.id: promise_record(p) for p in seen.values()},
        "tasks": {v.id: task_record(v) for v in views},
        "resumes": {v.id: sorted(v.resumes) for v in views},
        "rows": {i: task.state.value for i, task in state.tasks.items()},
        "callbacks": set(state.callbacks),
        "listeners": set(state.listeners),
        "leases": {i: at for i, at in state.task_leases.items() if i in live},
        "pending": {i for i in state.task_retries if i in live},
        "executes": {
            (i, version, address)
            for address, i, version in state.executes
            if pending.get(i) == version
        },
        "due": set(),
        "unblocks": {(i, address) for address, i in state.unblocks},
        "schedules": {i: schedule_record(s) for i, s in state.schedules.items()},
        "armed": {i for i in state.promise_timeouts if seen[i].state is PromiseState.PENDING},
    }
