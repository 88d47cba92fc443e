"""All storages load and answer the same after the same batches of random operations."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.core import steps
from holdfast.core.decide import Keys, decide
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import TARGET, PromiseState, Value, WaitMode
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from holdfast_store.db.migrate import migrate
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.storage import Behind, Plan, Storage, Turns
from tests.integration.postgres import Server
from tests.integration.store_db.records import BYTES_MAX, taken_for

BATCHES = 200
EPOCH = 15
"""Batches after which fresh ids come into play: sooner or later all the others are settled."""
GROUPS = ["g", "h"]
ADDRESSES = ["http://l", "poll://uni@g/p"]
PIDS = ["p", "q"]
OPERATIONS: set[type[Request]] = {
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
}


class Dice:
    """Random operations over few ids, so that they meet, with versions that are often right."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids: list[str] = []
        self._batches = 0
        self._versions: dict[str, int] = {}

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Remember the versions of leases."""
        for outcome in outcomes:
            if isinstance(outcome, Done) and outcome.task is not None:
                self._versions[outcome.task.id] = outcome.task.version

    def batch(self, now_ms: int) -> list[Request]:
        """Make a few operations."""
        if self._batches % EPOCH == 0:
            roots = [f"{self._batches}{letter}" for letter in "ab"]
            self._ids = [root + tail for root in roots for tail in ("", ".1", ".2", ".1.1")]
        self._batches += 1
        return [self._request(now_ms) for _ in range(self._random.randint(1, 8))]

    def plan(self, requests: list[Request], now_ms: int) -> Plan:
        """Make a plan for operations, with a few background steps."""
        keys = Keys()
        for request in requests:
            keys.add(request)
        queued = {group: self._random.randint(0, 3) for group in GROUPS}
        pids = keys.pids | set(self._random.sample(PIDS, self._random.randint(0, 1)))
        return Plan(
            ids=keys.ids,
            pids=pids,
            due_max=self._random.randint(0, 4),
            due_skip=frozenset(self._random.sample(self._ids, self._random.randint(0, 2))),
            queued=queued,
            behind=self._behind(now_ms, queued),
            turns={
                group: Turns(
                    after=self._random.choice([-1, 2**31]), limit=self._random.randint(1, 3)
                )
                for group in self._random.sample(GROUPS, self._random.randint(0, 2))
            },
        )

    def _behind(self, now_ms: int, queued: dict[str, int]) -> Behind | None:
        """Pick a place in the queue of a group that is looked at nowhere else."""
        group = self._random.choice(GROUPS)
        if queued.pop(group) == 0:
            return None
        at_ms = now_ms - self._random.randint(0, 60)
        limit = self._random.randint(1, 3)
        return Behind(
            group=group, queued_at_ms=at_ms, id=self._random.choice(self._ids), limit=limit
        )

    def addresses(self) -> list[str]:
        """Pick addresses to take messages for."""
        return self._random.sample(ADDRESSES, self._random.randint(0, 2))

    def pick(self, limit: int) -> int:
        """Pick a number below a limit."""
        return self._random.randrange(limit)

    def _create(self, now_ms: int, *, targeted: bool) -> PromiseCreate:
        promise_id = self._random.choice(self._ids)
        parent = promise_id.rpartition(".")[0] or promise_id
        tags = {"resonate:scope": "global", "resonate:parent": parent}
        branch = self._random.choice([promise_id, parent, None])
        if branch is not None:
            tags["resonate:branch"] = branch
        if targeted:
            tags[TARGET] = f"poll://any@{self._random.choice(GROUPS)}"
        timeout_at_ms = now_ms + self._random.choice([-5, 20, 400, 400, 400])
        return PromiseCreate(id=promise_id, timeout_at_ms=max(0, timeout_at_ms), tags=tags)

    def _settle(self, promise_id: str) -> PromiseSettle:
        state = self._random.choice([PromiseState.RESOLVED, PromiseState.REJECTED])
        return PromiseSettle(id=promise_id, state=state, value=Value(data=b"v"))

    def _fence(self, task_id: str, version: int, now_ms: int) -> TaskFence:
        create = self._create(now_ms, targeted=False)
        record = PromiseRecord(create=create, state=PromiseState.RESOLVED, value=Value(data=b"r"))
        return TaskFence(id=task_id, version=version, action=record if now_ms % 2 else create)

    def _request(self, now_ms: int) -> Request:  # noqa: PLR0911 - one arm per operation
        choose = self._random.choice
        one, other = choose(self._ids), choose(self._ids)
        held = self._versions.get(one, 0)
        version = choose([held, held, held, held + 1])
        pid, ttl_ms = choose(PIDS), choose([10, 200])
        match self._random.randrange(14):
            case 0 | 1:
                return self._create(now_ms, targeted=choose([True, False]))
            case 2 | 3:
                action = self._create(now_ms, targeted=True)
                return TaskCreate(pid=pid, ttl_ms=ttl_ms, action=action)
            case 4:
                return self._settle(one)
            case 5:
                return PromiseRegisterCallback(awaited=one, awaiter=other)
            case 6:
                return PromiseRegisterListener(awaited=one, address=choose(ADDRESSES))
            case 7 | 8:
                return TaskAcquire(id=one, version=version, pid=pid, ttl_ms=ttl_ms)
            case 9:
                return self._fence(one, version, now_ms)
            case 10 | 11:
                awaited = self._random.sample([i for i in self._ids if i != one], 2)
                actions = [PromiseRegisterCallback(awaited=i, awaiter=one) for i in awaited]
                mode = choose(list(WaitMode))
                return TaskSuspend(id=one, version=version, actions=tuple(actions), wait_mode=mode)
            case 12:
                return TaskFulfill(id=one, version=version, action=self._settle(one))
            case _:
                last: list[Request] = [
                    TaskRelease(id=one, version=version),
                    TaskHalt(id=one),
                    TaskContinue(id=one),
                    TaskHeartbeat(pid=pid),
                ]
                return choose(last)


async def run(
    storage: Storage, requests: list[Request], plan: Plan, *, now_ms: int, bytes_max: int
) -> tuple[list[Outcome], list[object]]:
    """Run operations and background steps as one batch; answer all that could be seen of it."""
    async with storage.transaction() as transaction:
        loaded = await transaction.load(plan, now_ms=now_ms)
        rows = loaded.working_set
        seen: list[object] = [
            sorted(rows.promises(), key=lambda promise: promise.id),
            sorted(rows.tasks(), key=lambda task: task.id),
            *({c.awaiter: c for c in rows.callbacks(i)} for i in sorted(plan.ids)),
            *(set(rows.listeners(i)) for i in sorted(plan.ids)),
            list(loaded.due_promises),
            list(loaded.due_tasks),
            list(loaded.queued),
            list(loaded.turns),
        ]
        outcomes: list[Outcome] = [
            decide(rows, request, now_ms=now_ms, profile=DEFAULT_PROFILE) for request in requests
        ]
        steps.expire_promises(rows, loaded.due_promises, now_ms=now_ms)
        steps.expire_leases(rows, loaded.due_tasks, now_ms=now_ms)
        steps.dispatch(rows, loaded.due_tasks, now_ms=now_ms, profile=DEFAULT_PROFILE)
        for task_id in loaded.queued:
            steps.claim_execute(rows, task_id, now_ms=now_ms, profile=DEFAULT_PROFILE)
        wanted = [o.preload_of for o in outcomes if isinstance(o, Done) and o.preload_of]
        preloads = await transaction.commit(
            rows.changes(), preload_of=wanted, preload_bytes_max=bytes_max
        )
    return outcomes, [*seen, outcomes, preloads]


async def look(storage: Storage, addresses: list[str], *, now_ms: int) -> list[object]:
    """Ask everything that can be asked outside of a batch."""
    armed = await storage.armed(limit=5)
    return [
        await storage.next_due_at_ms(),
        [tuple(each) for each in (*armed.promises, *armed.tasks)],
        await storage.queued_groups(),
        list(await storage.queue_counts(now_ms=now_ms)),
        await taken_for(storage, *addresses),
        await storage.drop_unblocks(before_ms=now_ms - 50),
    ]


async def compare(storages: Sequence[Storage], *, seed: int) -> Counter[type[Request]]:
    """Run the same random batches on each storage; answer which operations succeeded how often."""
    dice = Dice(seed)
    done: Counter[type[Request]] = Counter()
    now_ms = 1_000
    for _ in range(BATCHES):
        now_ms += dice.pick(12)
        requests = dice.batch(now_ms)
        plan = dice.plan(requests, now_ms)
        addresses, bytes_max = dice.addresses(), dice.pick(2) * BYTES_MAX
        batches = [
            await run(storage, requests, plan, now_ms=now_ms, bytes_max=bytes_max)
            for storage in storages
        ]
        looks = [await look(storage, addresses, now_ms=now_ms) for storage in storages]

        for (_, seen), looked in zip(batches[1:], looks[1:], strict=True):
            assert batches[0][1] == seen, f"seed {seed}"
            assert looks[0] == looked, f"seed {seed}"
        for request, outcome in zip(requests, batches[0][0], strict=True):
            done[type(request)] += isinstance(outcome, Done)
        dice.learn(batches[0][0])
    return done


@pytest.mark.timeout(300)
async def test_the_same_batches_give_the_same_answers(
    tmp_path: Path, postgres_server: Server
) -> None:
    done: Counter[type[Request]] = Counter()

    for seed in range(5):
        path = tmp_path / f"{seed}.db"
        migrate(f"sqlite:///{path}")
        postgres = PostgresStorage(postgres_server.empty_database(), tells_time=False)
        storages: list[Storage] = [MemoryStorage(), SqliteStorage(path), postgres]
        for storage in storages:
            await storage.open()
        done += await compare(storages, seed=seed)
        for storage in storages:
            await storage.close()

    never = [request.__name__ for request in OPERATIONS if not done[request]]
    assert never == [], "an operation that never succeeds compares nothing"
