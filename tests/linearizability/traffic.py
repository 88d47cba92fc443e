"""Clients that race for the same few tasks, and know enough to get somewhere.

Each tree lives for some dozens of requests. What answers tell is written on its board, for all
clients; it is a little old whenever it is read, and that is where the races come from.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.linearizability.recording import Event
from tests.linearizability.wire import Client, NotSent, Unanswered

FAR_MS: Final = 3_600_000
TARGET: Final = {"resonate:target": "poll://any@w"}
EXTERNAL: Final = {"resonate:external": "true"}
TIMER: Final = {"resonate:timer": "true"}
SETTLEABLE: Final = ("resolved", "resolved", "rejected", "rejected_canceled")
AWAITED_MAX: Final = 12
QUIET_S: Final = 30.0

Req = dict[str, Any]


@dataclass
class Board:
    """What is known of one tree."""

    origin: str
    left: int
    """Requests until it is closed."""
    in_flight: int = 0
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    promises: dict[str, str] = field(default_factory=dict)
    """State by id, tasks' promises included."""
    waits: dict[str, Sequence[str]] = field(default_factory=dict)
    """What suspended tasks wait for."""
    made: int = 0

    def learn(self, kind: str, req: Req, res: Mapping[str, Any]) -> None:
        """Note what an answer tells."""
        status, data = res["head"]["status"], res["data"]
        if kind == "task.suspend" and status == 200:
            self.waits[req["id"]] = [each["data"]["awaited"] for each in req["actions"]]
            self._state(req["id"], "suspended")
        elif kind in {"task.release", "task.continue"} and status == 200:
            self._state(req["id"], "pending")
        elif kind == "task.halt" and status == 200:
            self._state(req["id"], "halted")
        if not isinstance(data, dict):
            return
        inner = data.get("action", {})
        for record in (data.get("promise"), (inner.get("data") or {}) if inner else None):
            shown = record.get("promise", record) if isinstance(record, dict) else None
            if isinstance(shown, dict) and "state" in shown:
                self.promises[shown["id"]] = shown["state"]
        if "task" in data:
            self.tasks[data["task"]["id"]] = data["task"]

    def _state(self, task_id: str, state: str) -> None:
        self.tasks[task_id] = {
            **self.tasks.get(task_id, {"id": task_id, "version": 1}),
            "state": state,
        }


class Deviser:
    """Thinks of the next request."""

    def __init__(self, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self._rng = rng
        self._now_ms = now_ms

    def next(  # noqa: PLR0911 - one for each state of a task
        self, board: Board, client: str
    ) -> tuple[str, Req]:
        """Answer a request that is likely to do something; now and then one that is not."""
        rng = self._rng
        if rng.random() < 0.08:
            return self._nonsense(board, client)
        task_id = f"{board.origin}.{rng.choice('xxy')}"
        task = board.tasks.get(task_id)
        if task is None:
            if task_id in board.promises:
                return "task.get", {"id": task_id}
            return self._born(board, task_id, client)
        if rng.random() < 0.25:
            return self._aside(board, task_id)
        version = task["version"]
        match task["state"]:
            case "pending":
                return self._pending(task_id, version, client, board)
            case "acquired":
                pid = str(task.get("pid", self._pid(board, client)))
                return self._acquired(board, task_id, version, pid)
            case "suspended":
                return self._suspended(board, task_id)
            case "halted":
                return "task.continue", {"id": task_id}
        return self._aside(board, task_id)

    # Parts of requests

    def _pid(self, board: Board, client: str) -> str:
        return f"{board.origin}.{client}"  # so that it belongs to the tree

    def _ttl(self) -> int:
        return self._rng.choice((120, 200, 300, 60_000))

    def _timeout_at(self, *, short: float) -> int:
        span = self._rng.randint(60, 500) if self._rng.random() < short else FAR_MS
        return self._now_ms() + span

    def _creation(self, promise_id: str, tags: Mapping[str, str], *, short: float) -> Req:
        return {
            "id": promise_id,
            "timeoutAt": self._timeout_at(short=short),
            "param": {"data": f"{self._rng.randrange(1_000)}"},
            "tags": dict(tags),
        }

    def _settlement(self, promise_id: str) -> Req:
        state = self._rng.choice(SETTLEABLE)
        return {"id": promise_id, "state": state, "value": {"data": f"{self._rng.randrange(99)}"}}

    def _child(self, board: Board) -> str:
        if board.made < AWAITED_MAX and self._rng.random() < 0.5:
            board.made += 1
        return f"{board.origin}.{self._rng.randint(1, max(1, board.made))}"

    def _children(self, board: Board, *, pending: bool) -> list[str]:
        tasks = (f"{board.origin}.x", f"{board.origin}.y")
        is_pending = {i: s == "pending" for i, s in board.promises.items() if i not in tasks}
        return [i for i, s in is_pending.items() if s == pending]

    # By state of a task

    def _born(self, board: Board, task_id: str, client: str) -> tuple[str, Req]:
        created = self._creation(task_id, TARGET, short=0.15)
        if self._rng.random() < 0.5:
            return "promise.create", created
        action = {"kind": "promise.create", "head": {}, "data": created}
        return "task.create", {
            "pid": self._pid(board, client),
            "ttl": self._ttl(),
            "action": action,
        }

    def _pending(self, task_id: str, version: int, client: str, board: Board) -> tuple[str, Req]:
        lease = {"pid": self._pid(board, client), "ttl": self._ttl()}
        dice = self._rng.random()
        if dice < 0.8:
            return "task.acquire", {"id": task_id, "version": version, **lease}
        if dice < 0.92:
            action = {"data": self._creation(task_id, TARGET, short=0), "head": {}}
            return "task.create", {**lease, "action": {"kind": "promise.create", **action}}
        return "task.halt", {"id": task_id}

    def _acquired(  # noqa: PLR0911 - one for each kind of request
        self, board: Board, task_id: str, version: int, pid: str
    ) -> tuple[str, Req]:
        rng, fence = self._rng, {"id": task_id, "version": version}
        pending = self._children(board, pending=True)
        settled = self._children(board, pending=False)
        dice = rng.random()
        if dice < 0.25 or not pending:
            tags = TIMER if rng.random() < 0.3 else EXTERNAL
            short = 1.0 if tags is TIMER else 0.5
            created = self._creation(self._child(board), tags, short=short)
            return "task.fence", {**fence, "action": _action("promise.create", created)}
        if dice < 0.35:
            settlement = self._settlement(rng.choice(pending))
            return "task.fence", {**fence, "action": _action("promise.settle", settlement)}
        if dice < 0.52:
            # Without references it is for all leases of a process: of this tree, by its name.
            is_ours = pid.startswith(f"{board.origin}.")
            tasks = [] if is_ours and rng.random() < 0.3 else [fence]
            return "task.heartbeat", {"pid": pid, "tasks": tasks}
        if dice < 0.88:
            pool = settled if settled and rng.random() < 0.35 else pending
            awaited = {rng.choice(pool), rng.choice(pending)}
            actions = [
                _action("promise.register_callback", {"awaited": i, "awaiter": task_id})
                for i in sorted(awaited)
            ]
            return "task.suspend", {**fence, "actions": actions}
        if dice < 0.95:
            return "task.release", dict(fence)
        if dice < 0.97:
            return "task.halt", {"id": task_id}
        action = _action("promise.settle", self._settlement(task_id))
        return "task.fulfill", {**fence, "action": action}

    def _suspended(self, board: Board, task_id: str) -> tuple[str, Req]:
        awaited = board.waits.get(task_id, ())
        if awaited and self._rng.random() < 0.6:
            return "promise.settle", self._settlement(self._rng.choice(awaited))
        if self._rng.random() < 0.1:
            return "task.halt", {"id": task_id}
        return "task.get", {"id": task_id}

    def _aside(  # noqa: PLR0911 - one for each kind of request
        self, board: Board, task_id: str
    ) -> tuple[str, Req]:
        rng = self._rng
        known = [*board.promises] or [task_id]
        dice = rng.random()
        if dice < 0.45:
            return "task.get", {"id": task_id}
        if dice < 0.65:
            return "promise.get", {"id": rng.choice(known)}
        if dice < 0.75:
            return "promise.create", self._creation(self._child(board), EXTERNAL, short=0.5)
        if dice < 0.85:
            names = {"awaited": rng.choice(known), "awaiter": task_id}
            return "promise.register_callback", names
        if dice < 0.93:
            address = f"poll://uni@l/{rng.randrange(3)}"
            return "promise.register_listener", {"awaited": rng.choice(known), "address": address}
        children = self._children(board, pending=True)
        if children:
            return "promise.settle", self._settlement(rng.choice(children))
        return "task.get", {"id": task_id}

    def _nonsense(self, board: Board, client: str) -> tuple[str, Req]:
        """Wrong versions, unknown ids, promises that nobody may await."""
        rng = self._rng
        task_id = f"{board.origin}.{rng.choice('xyz')}"
        fence = {"id": task_id, "version": rng.randint(0, 4)}
        inner = f"{board.origin}.in"
        pid = self._pid(board, client)
        return rng.choice(
            (
                ("promise.create", {"id": inner, "timeoutAt": self._now_ms() + FAR_MS}),
                ("promise.get", {"id": f"{board.origin}.none"}),
                ("promise.settle", self._settlement(f"{board.origin}.none")),
                ("promise.register_callback", {"awaited": inner, "awaiter": task_id}),
                ("task.release", fence),
                ("task.acquire", {**fence, "pid": pid, "ttl": self._ttl()}),
                ("task.halt", {"id": task_id}),
                ("task.continue", {"id": task_id}),
                ("task.heartbeat", {"pid": pid, "tasks": [fence]}),
                (
                    "task.fulfill",
                    {**fence, "action": _action("promise.settle", self._settlement(task_id))},
                ),
            )
        )


def _action(kind: str, data: Req) -> Req:
    return {"kind": kind, "head": {}, "data": data}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long clients race: for a time, and longer on a machine that is slow."""

    until_s: float
    """Of the monotonic clock."""
    latest_s: float
    requests_min: int

    def is_over(self, requests: int) -> bool:
        """Whether it is time to stop after so many requests."""
        now_s = time.monotonic()
        return now_s >= (self.until_s if requests >= self.requests_min else self.latest_s)


class Recorder:
    """Asks stores, and writes down what was asked and answered, and when."""

    def __init__(self, seed: int) -> None:
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        # One reading of the wall clock, and a clock that nobody sets: intervals must be real.
        self._wall_ns = time.time_ns() - time.perf_counter_ns()
        self._trees: list[Board] = []
        self._planted_all: list[Board] = []
        self.asking: Counter[str] = Counter()
        """Requests in flight, by client."""

    def now_ns(self) -> int:
        return self._wall_ns + time.perf_counter_ns()

    def now_ms(self) -> int:
        return self.now_ns() // 1_000_000

    async def run(
        self, clients: Sequence[Client], pace: "Pace", *, trees: int = 6, requests: int = 90
    ) -> None:
        """Let clients race for as long as the pace says; then look at what is left."""
        self._trees = [self._planted(requests) for _ in range(trees)]
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(self._race(f"c{number}", client, pace, requests))
        async with asyncio.TaskGroup() as group:
            for board in self._planted_all:
                group.create_task(self._close(board, clients))

    def _planted(self, requests: int) -> Board:
        board = Board(origin=f"t{len(self._planted_all)}", left=requests)
        self._planted_all.append(board)
        return board

    async def _race(self, name: str, client: Client, pace: "Pace", requests: int) -> None:
        rng = random.Random(self._rng.random())
        deviser = Deviser(rng, self.now_ms)
        while not pace.is_over(len(self.events)):
            index = rng.randrange(len(self._trees))
            board = self._trees[index]
            board.left -= 1
            if board.left <= 0:
                self._trees[index] = self._planted(requests)
            board.in_flight += 1
            try:
                await self._one(name, client, board, *deviser.next(board, name))
            finally:
                board.in_flight -= 1
            # Pauses of different lengths: some deadlines and leases are left to pass.
            await asyncio.sleep(rng.choice((0, 0, 0.005, 0.02, 0.08)))

    async def _one(self, name: str, client: Client, board: Board, kind: str, req: Req) -> None:
        call_ns = self.now_ns()
        res: Mapping[str, Any] | None = None
        self.asking[name] += 1
        try:
            res = await client.ask(kind, req)
        except NotSent:
            self.counts["not sent"] += 1
            await asyncio.sleep(0.05)
            return
        except Unanswered:
            self.counts["unanswered"] += 1
        finally:
            self.asking[name] -= 1
        return_ns = None if res is None else self.now_ns()
        if res is not None:
            board.learn(kind, req, res)
            self.counts[f"{kind} {res['head']['status']}"] += 1
        self.events.append(Event(kind, req, res, call_ns, return_ns, name))

    def pushed(self, event: Event) -> None:
        """Learn of a task that the store gave to a member."""
        self.events.append(event)
        self.counts["tasks pushed to a member"] += 1
        for board in self._planted_all:
            if board.origin == event.origin and event.res is not None:
                board.learn(event.kind, dict(event.req), event.res)

    async def _close(self, board: Board, clients: Sequence[Client]) -> None:
        """See each suspended task wake whose time has come; the last look is recorded."""
        deadline = time.monotonic() + QUIET_S
        for name in [i for i, state in board.promises.items() if state == "pending"]:
            await self._one("end", clients[0], board, "promise.get", {"id": name})
        for task_id in board.tasks:
            for name in board.waits.get(task_id, ()):
                await self._one("end", clients[0], board, "promise.get", {"id": name})
            while True:
                await self._one("end", clients[0], board, "task.get", {"id": task_id})
                is_settled = any(
                    board.promises.get(name) not in {"pending", None}
                    for name in board.waits.get(task_id, ())
                )
                is_asleep = board.tasks[task_id]["state"] == "suspended"
                if not (is_asleep and is_settled) or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.2)
