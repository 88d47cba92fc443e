"""Judge a whole database by the invariants, in memory that does not follow its size.

What is held at any moment: one chunk of rows of one kind without payloads; of a chunk of tasks
also the callbacks that these tasks wait for, their promises and those of their resumes; of a chunk
of obligations or messages also the promises and tasks that these name; and of every rule that is
broken the first `SUBJECTS_MAX` rows. So the largest things are the tags of a chunk, and the
callbacks of tasks that wait for very many promises at once.

Not judged: the steps between states, since only the last state is there, and the counted sizes of
promises, which bound preloads and nothing else.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from holdfast.core.checks.snapshot import State, Violation
from holdfast.core.invariants import check_rows
from holdfast.core.profile import Profile
from holdfast.core.records import Callback, Promise, Task, Unblock
from holdfast_store.archives.port import Chunk, Kind, Listener, Snapshot

R = TypeVar("R")

SUBJECTS_MAX: Final = 20
"""Rows that are named for each broken rule; more are only counted."""


@dataclass(slots=True)
class Broken:
    """A rule that does not hold, and where."""

    rule: str
    meaning: str
    count: int = 0
    first: list[Violation] = field(default_factory=list)


class Audit:
    """Goes through a snapshot once, and remembers what is broken."""

    def __init__(self, snapshot: Snapshot, *, now_ms: int, profile: Profile) -> None:
        """Prepare; `now_ms` must lie behind the instant of the snapshot."""
        self._snapshot = snapshot
        self._check = partial(check_rows, now_ms=now_ms, profile=profile)
        self.counts: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._broken: dict[tuple[str, str], Broken] = {}

    def broken(self) -> list[Broken]:
        """List the rules that do not hold, in the order of their numbers."""
        return sorted(self._broken.values(), key=lambda b: (b.rule[0], int(b.rule[1:]), b.meaning))

    async def run(self) -> None:
        """Judge everything."""
        snapshot = self._snapshot
        self._note(await snapshot.damages())
        async for promises in self._records(
            Kind.PROMISE, snapshot.promises(payloads=False), lambda promise: promise.id
        ):
            await self._judge_promises(promises)
        async for tasks in self._records(Kind.TASK, snapshot.tasks(), lambda task: task.id):
            await self._judge_tasks(tasks)
        async for callbacks in self._records(
            Kind.CALLBACK, snapshot.callbacks(), lambda c: (c.awaited, c.awaiter)
        ):
            await self._judge_callbacks(callbacks)
        async for listeners in self._records(
            Kind.LISTENER, snapshot.listeners(), lambda row: (row.promise_id, row.address)
        ):
            await self._judge_listeners(listeners)
        async for unblocks in self._records(
            Kind.UNBLOCK, snapshot.unblocks(), lambda u: (u.promise_id, u.address)
        ):
            await self._judge_unblocks(unblocks)
        async for schedules in self._records(Kind.SCHEDULE, snapshot.schedules(), lambda s: s.id):
            self._note(self._check(_state(), schedules=schedules))

    async def _records(
        self, kind: Kind, chunks: AsyncIterator[Chunk[R]], key_of: Callable[[R], object]
    ) -> AsyncIterator[Sequence[R]]:
        """Yield the records of chunks; note what is none, and keys that come again (I1)."""
        last: object = None
        async for chunk in chunks:
            self._note(chunk.flaws)
            self.counts[kind] += len(chunk.records)
            for record in chunk.records:
                key = key_of(record)
                if key == last:
                    self._note([_repeated(kind, key)])
                last = key
            yield chunk.records

    async def _judge_promises(self, promises: Sequence[Promise]) -> None:
        ids = [promise.id for promise in promises]
        around = _state(
            tasks=await self._snapshot.find_tasks(ids),
            carriers=await self._snapshot.find_carriers(ids),
        )
        self._note(self._check(around, promises=promises))

    async def _judge_tasks(self, tasks: Sequence[Task]) -> None:
        named = {task.id for task in tasks}.union(*(task.resumes for task in tasks))
        around = _state(
            promises=await self._snapshot.find_promises(named),
            waits=await self._snapshot.find_waits([task.id for task in tasks]),
        )
        self._note(self._check(around, tasks=tasks))

    async def _judge_callbacks(self, callbacks: Sequence[Callback]) -> None:
        awaiters = {callback.awaiter for callback in callbacks}
        named = awaiters.union(callback.awaited for callback in callbacks)
        around = _state(
            promises=await self._snapshot.find_promises(named),
            tasks=await self._snapshot.find_tasks(awaiters),
        )
        self._note(self._check(around, callbacks=callbacks))

    async def _judge_listeners(self, listeners: Sequence[Listener]) -> None:
        named = {listener.promise_id for listener in listeners}
        around = _state(promises=await self._snapshot.find_promises(named))
        pairs = [(listener.promise_id, listener.address) for listener in listeners]
        self._note(self._check(around, listeners=pairs))

    async def _judge_unblocks(self, unblocks: Sequence[Unblock]) -> None:
        named = {unblock.promise_id for unblock in unblocks}
        around = _state(promises=await self._snapshot.find_promises(named))
        self._note(self._check(around, unblocks=unblocks))

    def _note(self, violations: Iterable[Violation]) -> None:
        for violation in violations:
            key = (violation.rule, violation.meaning)
            broken = self._broken.setdefault(key, Broken(*key))
            broken.count += 1
            if len(broken.first) < SUBJECTS_MAX:
                broken.first.append(violation)


def _repeated(kind: Kind, key: object) -> Violation:
    return Violation(
        rule="I1", meaning="keys are unique", subject=f"{kind} {key}", found="more than one row"
    )


def _state(
    *,
    promises: Iterable[Promise] = (),
    tasks: Iterable[Task] = (),
    waits: Iterable[Callback] = (),
    carriers: frozenset[str] = frozenset(),
) -> State:
    """Make the part of a state that the rules look at beside the rows that they judge."""
    by_awaiter: dict[str, list[Callback]] = {}
    for callback in waits:
        by_awaiter.setdefault(callback.awaiter, []).append(callback)
    by_task: Mapping[str, Task] = {task.id: task for task in tasks}
    return State(
        promises={promise.id: promise for promise in promises},
        tasks=by_task,
        callbacks={},
        listeners=frozenset(),
        unblocks={},
        schedules={},
        waits=by_awaiter,
        carriers=carriers,
        repeated=(),
    )
