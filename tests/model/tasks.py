"""The operations on tasks, but for the fence."""

from tests.model.promises import Promises, is_after, page
from tests.model.reading import (
    check_create,
    check_settle,
    malformed,
    read_callback,
    read_create,
    read_list,
    read_name,
    read_not_before,
    read_number,
    read_object,
    read_page,
    read_reason,
    read_settle,
    read_wait_mode,
)
from tests.model.records import (
    ALL_RESOLVED,
    ANY,
    DELAY,
    HALTED,
    PENDING,
    RESOLVED,
    TARGET,
    TASK_STATES,
    UNKNOWN_FUNCTION,
    Json,
    Promise,
    Refused,
    Task,
)
from tests.model.state import in_order

NOT_BEFORE_MAX = 60_000
"""How far a release may put the next dispatch off."""


class Tasks(Promises):
    """`task.*`."""

    def task_get(self, data: Json, now: int) -> Json:
        return {"task": self.read_task(self.get_task(read_name(data, "id")), now)}

    def task_create(self, data: Json, now: int) -> Json:
        """Create promise and task and give the caller the lease, in one step."""
        pid, ttl = read_name(data, "pid"), read_number(data, "ttl", least=1)
        create = read_create(read_object(read_object(data, "action"), "data"))
        check_create(create, self.profile)
        if TARGET not in create["tags"] or DELAY in create["tags"]:
            malformed("the promise of a task has a target, and no delay")
        promise = self.find_or_create(create, now)
        if not promise.is_targeted:
            raise Refused(422, "the promise exists and has no target")
        task = self.tasks[promise.id]
        match self.view(task, now).state:
            case "fulfilled":
                return self.hand_out(task, now, preload=[])
            case "pending":
                self.acquire(task, pid=pid, ttl=ttl, now=now)
                return self.hand_out(task, now)
        raise Refused(409, "the task is not pending")

    def hand_out(self, task: Task, now: int, preload: list[Json] | None = None) -> Json:
        return {
            "task": self.read_task(task, now),
            "promise": self.read_promise(self.promises[task.id], now),
            "preload": self.preload(task, now) if preload is None else preload,
        }

    def task_acquire(self, data: Json, now: int) -> Json:
        task_id, version = read_name(data, "id"), read_number(data, "version")
        pid, ttl = read_name(data, "pid"), read_number(data, "ttl", least=1)
        task = self.get_task(task_id)
        if self.view(task, now).state != PENDING or task.version != version:
            raise Refused(409, "the task is not pending at that version")
        self.acquire(task, pid=pid, ttl=ttl, now=now)
        return self.hand_out(task, now)

    def get_held_task(self, task_id: str, version: int, now: int) -> Task:
        """Return a task that the caller still holds. The version says so, not who it is."""
        task = self.get_task(task_id)
        if not self.is_running(task, version, now):
            raise Refused(409, "the task is not acquired at that version")
        return task

    def task_release(self, data: Json, now: int) -> Json:
        task_id, version = read_name(data, "id"), read_number(data, "version")
        not_before = read_not_before(data, self.profile)
        reason = read_reason(data, self.profile)
        task = self.get_held_task(task_id, version, now)
        task.unknown_releases += reason == UNKNOWN_FUNCTION
        if reason == UNKNOWN_FUNCTION and self.is_hopeless(task):
            self.enter(task, HALTED)
        else:
            self.make_pending(task, max(now, min(not_before, now + NOT_BEFORE_MAX)))
        return {}

    def is_hopeless(self, task: Task) -> bool:
        """Say whether so many could not run a task that it is left to a person."""
        return 0 < self.profile.unknown_releases_max <= task.unknown_releases

    def task_fulfill(self, data: Json, now: int) -> Json:
        task_id, version = read_name(data, "id"), read_number(data, "version")
        settle = read_settle(read_object(read_object(data, "action"), "data"))
        check_settle(settle)
        if settle["id"] != task_id:
            malformed("a task fulfils its own promise")
        self.get_held_task(task_id, version, now)
        return {"promise": self.settle_once(settle, now)}

    def task_suspend(self, data: Json, now: int) -> tuple[int, Json]:
        """Give the lease up until any of the awaited settles; 300 if one has settled already."""
        task_id, version = read_name(data, "id"), read_number(data, "version")
        awaited_ids = self.read_awaited(data, task_id)
        mode = read_wait_mode(data, self.profile)
        task = self.get_held_task(task_id, version, now)
        awaited = [self.promises.get(awaited_id) for awaited_id in awaited_ids]
        known = [promise for promise in awaited if promise and self.is_awaitable(promise)]
        if len(known) < len(awaited):
            raise Refused(422, "an awaited promise is unknown, or nobody outside settles it")
        if not self.must_wait(known, now, mode):
            self.redirect(task)
            return 300, {"preload": self.preload(task, now)}
        self.suspend(task)
        task.wait_mode = mode
        task.waits_for = {promise.id for promise in known if self.is_live(promise, now)}
        for awaited_id in task.waits_for:
            self.promises[awaited_id].callbacks.add(task_id)
        return 200, {}

    def read_awaited(self, data: Json, task_id: str) -> list[str]:
        awaited_ids = []
        for action in read_list(data, "actions"):
            if not isinstance(action, dict):
                malformed("an action must be an object")
            awaited, awaiter = read_callback(read_object(action, "data"), self.profile)
            if awaiter != task_id or awaited in awaited_ids:
                malformed("the task awaits each promise once, and for itself")
            awaited_ids.append(awaited)
        return awaited_ids or malformed("a task suspends on something")

    def must_wait(self, awaited: list[Promise], now: int, mode: str) -> bool:
        states = [self.project(promise, now).state for promise in awaited]
        if mode == ANY:
            return all(state == PENDING for state in states)
        hurts = mode == ALL_RESOLVED and not {*states} <= {PENDING, RESOLVED}
        return PENDING in states and not hurts

    def redirect(self, task: Task) -> None:
        """Send the holder on: it keeps the lease, and has now seen what it was to be told."""
        task.resumes = set()

    def task_heartbeat(self, data: Json, now: int) -> Json:
        """Extend the leases that are still held; skip all others without a word."""
        pid = read_name(data, "pid")
        refs = read_list(data, "tasks")
        if not all(isinstance(ref, dict) for ref in refs):
            malformed("a task is an object")
        named = [(read_name(ref, "id"), read_number(ref, "version")) for ref in refs]
        if not named:
            named = self.all_of(pid)
        for task_id, version in named:
            task = self.tasks.get(task_id)
            if task and self.is_running(task, version, now) and task.pid == pid:
                self.extend(task, now)
        return {}

    def all_of(self, pid: str) -> list[tuple[str, int]]:
        """Return what a heartbeat that names nothing means: everything, nothing, or a mistake."""
        if self.profile.empty_heartbeat == "reject":
            malformed("a heartbeat names its tasks")
        if self.profile.empty_heartbeat == "ok":
            return []
        return [(task.id, task.version) for task in self.tasks.values() if task.pid == pid]

    def task_halt(self, data: Json, now: int) -> Json:
        """Stop a task until a person continues it; a worker does so only with what it holds."""
        task_id, version = read_name(data, "id"), self.read_fence(data)
        task = self.get_task(task_id)
        if self.is_over(task, now):
            raise Refused(409, "the task is fulfilled")
        if version is not None:
            self.get_held_task(task_id, version, now)
        self.enter(task, HALTED)
        return {}

    def read_fence(self, data: Json) -> int | None:
        """Return the version by which a halt is fenced, if it is."""
        is_fenced = self.profile.extensions and data.get("version") is not None
        return read_number(data, "version") if is_fenced else None

    def task_continue(self, data: Json, now: int) -> Json:
        task = self.get_task(read_name(data, "id"))
        if self.view(task, now).state != HALTED:
            raise Refused(409, "the task is not halted")
        self.make_pending(task, now)
        task.unknown_releases = 0  # who continues it says that it can be run now
        return {}

    def task_search(self, data: Json, now: int) -> Json:
        self.check_searchable()
        state, cursor, limit = read_page(data, limit=100, states=TASK_STATES)
        views = [self.view(task, now) for task in in_order(self.tasks.values())]
        found = [v for v in views if state in (None, v.state) and is_after(v, cursor)]
        return page("tasks", [view.record() for view in found], limit)
