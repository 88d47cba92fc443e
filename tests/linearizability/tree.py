"""One tree of promises as the protocol describes it: what an operation does to it and answers.

Written from the protocol alone, and importing nothing of Holdfast: a mistake that both make has to
be made twice. States are values: frozen, comparable, with a hash, since a search keeps thousands.

What the store does by itself is a step of its own here, so that a search may take it at any moment
at which it is due. Timeouts are not among them: a promise reads as its deadline says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

Json = Mapping[str, Any]

_EXTERNAL_TAGS: Final = ("resonate:target", "resonate:scope")


@dataclass(frozen=True, slots=True)
class Value:
    """A payload; checkers compare these two and nothing else."""

    data: str | None = None
    headers: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A record, as it is stored and as it is answered."""

    id: str
    state: str = "pending"
    param: Value = Value()
    value: Value = Value()
    tags: frozenset[tuple[str, str]] = frozenset()
    timeout_at: int
    created_at: int
    settled_at: int | None = None

    def tag(self, name: str) -> str | None:
        return dict(self.tags).get(name)

    @property
    def is_external(self) -> bool:
        tags = dict(self.tags)
        return (
            any(name in tags for name in _EXTERNAL_TAGS)
            or tags.get("resonate:timer") == "true"
            or tags.get("resonate:external") == "true"
        )

    def at(self, now: int) -> "Promise":
        """Answer how it reads: a passed deadline settles it."""
        if self.state != "pending" or self.timeout_at > now:
            return self
        verdict = "resolved" if self.tag("resonate:timer") == "true" else "rejected_timedout"
        return replace(self, state=verdict, settled_at=self.timeout_at)

    def is_live(self, now: int) -> bool:
        return self.state == "pending" and self.timeout_at > now


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task with what nobody sees of it: whose wake-ups it has, and when its lease ends."""

    state: str = "pending"
    version: int = 0
    resumes: frozenset[str] = frozenset()
    ttl: int | None = None
    pid: str | None = None
    lease_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSeen:
    """A task as it is answered."""

    id: str
    state: str
    version: int
    resumes: int = 0
    ttl: int | None = None
    pid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """As much of a response as is compared."""

    status: int
    promise: Promise | None = None
    task: TaskSeen | None = None
    inner: "Answer | None" = None


@dataclass(frozen=True, eq=False)
class Tree:
    """All promises, tasks and callbacks of one origin."""

    promises: Mapping[str, Promise] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    callbacks: frozenset[tuple[str, str]] = frozenset()
    """Awaited and awaiter. Of a settled promise: what is still to be delivered."""

    @cached_property
    def _key(self) -> object:
        return frozenset(self.promises.items()), frozenset(self.tasks.items()), self.callbacks

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self._key == other._key

    def put(self, *promises: Promise, **tasks: Task) -> "Tree":
        """Answer a tree with other promises; a task is named by its id."""
        return replace(
            self,
            promises={**self.promises, **{each.id: each for each in promises}},
            tasks={**self.tasks, **tasks},
        )

    def view(self, task_id: str, now: int) -> TaskSeen:
        """Answer how a task reads: fulfilled once its promise is settled."""
        task = self.tasks[task_id]
        if task.state == "fulfilled" or not self.promises[task_id].is_live(now):
            return TaskSeen(id=task_id, state="fulfilled", version=task.version)
        return TaskSeen(
            id=task_id,
            state=task.state,
            version=task.version,
            resumes=len(task.resumes),
            ttl=task.ttl,
            pid=task.pid,
        )


EMPTY: Final = Tree()


# What the store does by itself


@dataclass(frozen=True, slots=True)
class Internal:
    """A step that nobody asked for, from when on it is due, and what it leads to."""

    kind: str
    subject: str
    due_at: int
    after: Tree


def internal_steps(tree: Tree, task_id: str, now: int) -> Iterator[Internal]:
    """Yield what may happen to a task by itself at an instant."""
    task, promise = tree.tasks.get(task_id), tree.promises.get(task_id)
    if task is None or promise is None:
        return
    if task.lease_at is not None and task.lease_at <= now and promise.is_live(now):
        pending = _without_lease(task, "pending")
        yield Internal("lease_expiry", task_id, task.lease_at, tree.put(**{task_id: pending}))
    for awaited, awaiter in sorted(tree.callbacks):
        if awaiter != task_id:
            continue
        settled_at = tree.promises[awaited].at(now).settled_at
        if settled_at is None:
            continue
        drained = replace(tree, callbacks=tree.callbacks - {(awaited, awaiter)})
        if task.state != "fulfilled" and promise.is_live(now):
            drained = drained.put(**{task_id: _woken(task, awaited)})
        yield Internal("callback_drain", f"{awaited} -> {task_id}", settled_at, drained)


def _woken(task: Task, awaited: str) -> Task:
    if task.state == "suspended":
        return replace(task, state="pending", resumes=frozenset({awaited}))
    return replace(task, resumes=task.resumes | {awaited})


def _without_lease(task: Task, state: str) -> Task:
    return replace(task, state=state, ttl=None, pid=None, lease_at=None)


# Operations


def step(tree: Tree, kind: str, req: Json, now: int) -> tuple[Tree, Answer]:  # noqa: C901, PLR0911, PLR0912 - one arm per operation
    """Carry out one operation at one instant."""
    match kind:
        case "promise.get":
            promise = tree.promises.get(req["id"])
            if promise is None:
                return tree, Answer(status=404)
            return tree, Answer(status=200, promise=promise.at(now))
        case "promise.create":
            return _create(tree, req, now)
        case "promise.settle":
            return _settle(tree, req, now)
        case "promise.register_callback":
            return _register_callback(tree, req, now)
        case "promise.register_listener":
            return tree, _register_listener(tree, req, now)
        case "task.get":
            if req["id"] not in tree.tasks:
                return tree, Answer(status=404)
            return tree, Answer(status=200, task=tree.view(req["id"], now))
        case "task.create":
            return _create_task(tree, req, now)
        case "task.acquire":
            return _acquire(tree, req, now)
        case "task.heartbeat":
            return _heartbeat(tree, req, now), Answer(status=200)
        case "task.halt":
            return _halt(tree, req["id"], now)
        case "task.continue":
            return _continue(tree, req["id"], now)
        case "task.release" | "task.fulfill" | "task.suspend" | "task.fence":
            return _fenced(tree, kind, req, now)
    raise ValueError(f"no rule for {kind}")


def _create(tree: Tree, req: Json, now: int) -> tuple[Tree, Answer]:
    tags = req.get("tags") or {}
    if tags.get("resonate:timer") == "true" and "resonate:target" in tags:
        return tree, Answer(status=400)
    existing = tree.promises.get(req["id"])
    if existing is not None:
        return tree, Answer(status=200, promise=existing.at(now))
    timeout_at = req["timeoutAt"]
    promise = Promise(
        id=req["id"],
        param=value_of(req.get("param")),
        tags=frozenset(tags.items()),
        timeout_at=timeout_at,
        created_at=min(now, timeout_at),
    ).at(now)
    is_live = promise.state == "pending"
    tasks = {}
    if "resonate:target" in tags:
        tasks[promise.id] = Task(state="pending" if is_live else "fulfilled")
    return tree.put(promise, **tasks), Answer(status=200, promise=promise)


def _settle(tree: Tree, req: Json, now: int) -> tuple[Tree, Answer]:
    if req["state"] not in {"resolved", "rejected", "rejected_canceled"}:
        return tree, Answer(status=400)
    promise = tree.promises.get(req["id"])
    if promise is None:
        return tree, Answer(status=404)
    if not promise.is_live(now):
        return tree, Answer(status=200, promise=promise.at(now))
    value = value_of(req.get("value"))
    settled = replace(promise, state=req["state"], value=value, settled_at=now)
    tasks = {}
    if (task := tree.tasks.get(promise.id)) is not None:
        tasks[promise.id] = Task(state="fulfilled", version=task.version)
    return tree.put(settled, **tasks), Answer(status=200, promise=settled)


def _register_callback(tree: Tree, req: Json, now: int) -> tuple[Tree, Answer]:
    if req["awaited"] == req["awaiter"]:
        return tree, Answer(status=400)
    awaited, awaiter = tree.promises.get(req["awaited"]), tree.promises.get(req["awaiter"])
    if awaited is None:
        return tree, Answer(status=404)
    if awaiter is None or awaiter.tag("resonate:target") is None or not awaited.is_external:
        return tree, Answer(status=422)
    if awaited.is_live(now) and awaiter.is_live(now):
        tree = replace(tree, callbacks=tree.callbacks | {(awaited.id, awaiter.id)})
    return tree, Answer(status=200, promise=awaited.at(now))


def _register_listener(tree: Tree, req: Json, now: int) -> Answer:
    awaited = tree.promises.get(req["awaited"])
    if awaited is None:
        return Answer(status=404)
    if not awaited.is_external:
        return Answer(status=422)
    return Answer(status=200, promise=awaited.at(now))


def _leased(task: Task, req: Json, now: int) -> Task:
    return Task(
        state="acquired",
        version=task.version + 1,
        ttl=req["ttl"],
        pid=req["pid"],
        lease_at=now + req["ttl"],
    )


def _create_task(tree: Tree, req: Json, now: int) -> tuple[Tree, Answer]:
    action = req["action"]["data"]
    tags = action.get("tags") or {}
    if "resonate:target" not in tags or tags.get("resonate:timer") == "true":
        return tree, Answer(status=400)
    promise_id = action["id"]
    if promise_id not in tree.promises:
        tree, _ = _create(tree, action, now)
    elif promise_id not in tree.tasks:
        return tree, Answer(status=422)
    seen = tree.view(promise_id, now)
    if seen.state not in {"pending", "fulfilled"}:
        return tree, Answer(status=409)
    if seen.state == "pending":
        tree = tree.put(**{promise_id: _leased(tree.tasks[promise_id], req, now)})
    promise = tree.promises[promise_id].at(now)
    return tree, Answer(status=200, promise=promise, task=tree.view(promise_id, now))


def _acquire(tree: Tree, req: Json, now: int) -> tuple[Tree, Answer]:
    task_id = req["id"]
    if task_id not in tree.tasks:
        return tree, Answer(status=404)
    seen = tree.view(task_id, now)
    if seen.state != "pending" or seen.version != req["version"]:
        return tree, Answer(status=409)
    tree = tree.put(**{task_id: _leased(tree.tasks[task_id], req, now)})
    promise = tree.promises[task_id].at(now)
    return tree, Answer(status=200, promise=promise, task=tree.view(task_id, now))


def _heartbeat(tree: Tree, req: Json, now: int) -> Tree:
    refs = req.get("tasks") or [{"id": i, "version": t.version} for i, t in tree.tasks.items()]
    for ref in refs:
        task = tree.tasks.get(ref["id"])
        if task is None or task.state != "acquired" or task.pid != req["pid"]:
            continue
        if task.version == ref["version"] and tree.promises[ref["id"]].is_live(now):
            assert task.ttl is not None
            tree = tree.put(**{ref["id"]: replace(task, lease_at=now + task.ttl)})
    return tree


def _halt(tree: Tree, task_id: str, now: int) -> tuple[Tree, Answer]:
    if task_id not in tree.tasks:
        return tree, Answer(status=404)
    if tree.view(task_id, now).state == "fulfilled":
        return tree, Answer(status=409)
    halted = _without_lease(tree.tasks[task_id], "halted")
    return tree.put(**{task_id: halted}), Answer(status=200)


def _continue(tree: Tree, task_id: str, now: int) -> tuple[Tree, Answer]:
    if task_id not in tree.tasks:
        return tree, Answer(status=404)
    if tree.view(task_id, now).state != "halted":
        return tree, Answer(status=409)
    return tree.put(**{task_id: replace(tree.tasks[task_id], state="pending")}), Answer(status=200)


def _fenced(tree: Tree, kind: str, req: Json, now: int) -> tuple[Tree, Answer]:
    """Carry out what needs the lease and its version."""
    task_id = req["id"]
    if task_id not in tree.tasks:
        return tree, Answer(status=404)
    seen = tree.view(task_id, now)
    if seen.state != "acquired" or seen.version != req["version"]:
        return tree, Answer(status=409)
    match kind:
        case "task.release":
            pending = _without_lease(tree.tasks[task_id], "pending")
            return tree.put(**{task_id: pending}), Answer(status=200)
        case "task.fulfill":
            return _settle(tree, req["action"]["data"], now)
        case "task.fence":
            action = req["action"]
            tree, inner = step(tree, action["kind"], action["data"], now)
            return tree, Answer(status=200, inner=inner)
        case _:
            return _suspend(tree, req, now)


def _suspend(tree: Tree, req: Json, now: int) -> tuple[Tree, Answer]:
    task_id = req["id"]
    names = [action["data"]["awaited"] for action in req["actions"]]
    awaited = [tree.promises.get(name) for name in names]
    if any(each is None or not each.is_external for each in awaited):
        return tree, Answer(status=422)
    task = tree.tasks[task_id]
    if any(each is not None and not each.is_live(now) for each in awaited):
        return tree.put(**{task_id: replace(task, resumes=frozenset())}), Answer(status=300)
    suspended = Task(state="suspended", version=task.version)
    waits = tree.callbacks | {(name, task_id) for name in names}
    return replace(tree, callbacks=waits).put(**{task_id: suspended}), Answer(status=200)


def value_of(value: Json | None) -> Value:
    """Read a payload; null, absent and empty are one."""
    given = value or {}
    return Value(given.get("data"), frozenset((given.get("headers") or {}).items()))
