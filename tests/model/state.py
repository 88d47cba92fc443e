"""The state, how it reads at an instant, and what follows when a promise settles."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from tests.model.profile import Profile
from tests.model.records import (
    ACQUIRED,
    ALL_RESOLVED,
    ANY,
    BRANCH,
    EXTERNAL,
    FULFILLED,
    LARGEST,
    PENDING,
    RESOLVED,
    SCOPE,
    SUSPENDED,
    TARGET,
    TIMED_OUT,
    Json,
    Promise,
    Refused,
    Schedule,
    Task,
)


class State:
    """Everything the store knows, in dicts by id."""

    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile or Profile()
        self.clear()

    def clear(self) -> None:
        self.promises: dict[str, Promise] = {}
        self.tasks: dict[str, Task] = {}
        self.schedules: dict[str, Schedule] = {}
        self.executes: dict[str, Json] = {}  # the outbox, by task
        self.unblocks: dict[tuple[str, str], Json] = {}  # and by promise and address

    # How records read.

    def is_past(self, promise: Promise, now: int) -> bool:
        """Say whether the deadline has come; the instant of the deadline itself counts."""
        return promise.state == PENDING and promise.timeout_at <= now

    def project(self, promise: Promise, now: int) -> Promise:
        """Return the promise as it reads: a passed deadline counts even if nothing stored it."""
        if not self.is_past(promise, now):
            return promise
        return replace(
            promise, state=self.deadline_verdict(promise), settled_at=promise.timeout_at, value={}
        )

    def deadline_verdict(self, promise: Promise) -> str:
        return RESOLVED if promise.is_timer else TIMED_OUT

    def is_live(self, promise: Promise, now: int) -> bool:
        return self.project(promise, now).state == PENDING

    def view(self, task: Task, now: int) -> Task:
        """Return the task as it reads: that of a settled promise is fulfilled."""
        if self.is_live(self.promises[task.id], now):
            return task
        return Task(id=task.id, state=FULFILLED, version=task.version)

    def is_external(self, promise: Promise) -> bool:
        """Say whether something other than the awaiting execution can settle it."""
        if promise.is_targeted or promise.is_timer or promise.tags.get(EXTERNAL) == "true":
            return True
        scope = promise.tags.get(SCOPE)
        match self.profile.external_scopes:
            case "any":
                return scope is not None
            case "global":
                return scope == "global"
        return False

    def is_awaitable(self, promise: Promise) -> bool:
        return self.profile.await_internal or self.is_external(promise)

    # Looking things up. A request that meets a passed deadline stores nothing: a sweep does.

    def get_promise(self, promise_id: str) -> Promise:
        promise = self.promises.get(promise_id)
        if promise is None:
            raise Refused(404, "promise not found")
        return promise

    def get_task(self, task_id: str) -> Task:
        """Return the stored task, to be judged by its view."""
        task = self.tasks.get(task_id)
        if task is None:
            raise Refused(404, "task not found")
        return task

    def read_promise(self, promise: Promise, now: int) -> Json:
        return self.project(promise, now).record()

    def read_task(self, task: Task, now: int) -> Json:
        return self.view(task, now).record()

    def preload(self, task: Task, now: int) -> list[Json]:
        """Return what the holder will look at next: the promises of the task's branch."""
        branch = self.promises[task.id].tags.get(BRANCH)
        return [
            self.read_promise(promise, now)
            for promise in in_order(self.promises.values())
            if branch is not None and promise.tags.get(BRANCH) == branch and promise.id != task.id
        ]

    # What follows.

    def settle(self, promise: Promise, *, state: str, value: Json, now: int) -> None:
        self.close(promise, state=state, value=value, settled_at=now)
        self.discharge(promise, now)

    def settle_by_deadline(self, promises: list[Promise], now: int) -> None:
        """Settle all, then discharge, so that one that died in the same sweep is not woken."""
        for promise in promises:
            verdict = self.deadline_verdict(promise)
            self.close(promise, state=verdict, value={}, settled_at=promise.timeout_at)
        for promise in promises:
            self.discharge(promise, now)

    def close(self, promise: Promise, *, state: str, value: Json, settled_at: int) -> None:
        """Settle a promise and, in the same step, fulfil its task."""
        promise.state, promise.value, promise.settled_at = state, value, settled_at
        if promise.id in self.tasks:
            self.fulfil(self.tasks[promise.id])

    def enter(self, task: Task, state: str) -> None:
        """Change the state of a task. An offer of what it was before is of no use any more."""
        task.enter(state)
        self.executes.pop(task.id, None)

    def fulfil(self, task: Task) -> None:
        self.enter(task, FULFILLED)
        task.resumes = set()

    def discharge(self, promise: Promise, now: int) -> None:
        """Tell who waits for a settled promise, once each."""
        for address in promise.listeners:
            self.unblocks[promise.id, address] = {"promise": promise.record()}
        for awaiter in sorted(promise.callbacks):
            self.wake(awaiter, promise.id, now)
        promise.listeners, promise.callbacks = set(), set()

    def wake(self, awaiter: str, awaited: str, now: int) -> None:
        """Let a suspended task go on; any other remembers what it need not await any more."""
        task = self.tasks[awaiter]
        match self.view(task, now).state:
            case "fulfilled":
                return  # dead: it is never dispatched again
            case "suspended":
                if self.is_enough(task, awaited):
                    self.make_pending(task, now)
                    task.resumes = {awaited}
            case _:
                task.resumes.add(awaited)

    def is_enough(self, task: Task, awaited: str) -> bool:
        """Say whether a suspended task goes on. Waiting for all, it does so with the last one.

        Then a callback that an earlier suspend has left is of no use any more.
        """
        if task.wait_mode == ANY:
            return True
        if awaited not in task.waits_for:
            return False
        task.waits_for.remove(awaited)
        hurts = task.wait_mode == ALL_RESOLVED and self.promises[awaited].state != RESOLVED
        return hurts or not task.waits_for

    def make_pending(self, task: Task, due_at: int) -> None:
        self.enter(task, PENDING)
        task.retry_at = due_at

    def acquire(self, task: Task, *, pid: str, ttl: int, now: int) -> None:
        """Give the lease; the version that goes up fences whoever held it before."""
        self.enter(task, ACQUIRED)
        task.version += 1
        task.resumes = set()
        task.pid, task.ttl = pid, ttl
        self.extend(task, now)

    def extend(self, task: Task, now: int) -> None:
        assert task.ttl is not None
        task.expires_at = min(now + task.ttl, LARGEST)

    def suspend(self, task: Task) -> None:
        self.enter(task, SUSPENDED)
        task.resumes = set()
        task.unknown_releases = 0

    def dispatch(self, task: Task, now: int) -> None:
        """Offer a pending task to its group; a newer offer replaces an older one."""
        address = self.promises[task.id].tags[TARGET]
        self.executes[task.id] = {"id": task.id, "version": task.version, "address": address}
        task.retry_at = min(now + self.profile.retry_ms, LARGEST)


Record = TypeVar("Record", Promise, Task, Schedule)


def in_order(records: Iterable[Record]) -> list[Record]:
    """Sort by the UTF-8 bytes of the id."""
    return sorted(records, key=lambda record: record.id.encode())
