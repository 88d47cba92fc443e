"""What a store knows of pending promises from its own last look, so that it need not look again.

Nothing is believed: whoever decides by it names the revision of every promise that it has used to
the statement that writes, and that statement locks them and writes nothing unless all of them stand
(optimistic concurrency control; Kung and Robinson, 1981). What is here may therefore be as old as
it likes. A promise's revision covers its task, resumes, callbacks and listeners too.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.records import BRANCH, Callback, Preload, Promise, PromiseState, Schedule, Task
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.db.postgres.children import KnownChildren
from holdfast_store.preloads import counted_bytes
from holdfast_store.storage import Plan

BYTES_MAX: Final = 32 * 1_048_576
"""What the payloads of known promises may take together; the oldest of them are forgotten first."""

OVERHEAD_BYTES: Final = 2_048
"""Counted for each promise beside its id, payloads and tags: its task, and what Python adds."""

OBLIGATIONS_MAX: Final = 100
"""Of a promise with more callbacks, listeners or resumes nothing is kept."""

TAKEN_MAX: Final = 10_000
"""Ids that are remembered because they were wrongly taken for absent."""

PAUSE_MAX: Final = 256
"""Most transactions in a row that look at the database after the knowledge was wrong."""


@dataclass(slots=True)
class Known:
    """A promise, and everything that its lock stands for."""

    promise: Promise
    revision: int | None
    """Absent where a store of an older version wrote, which then nobody can be certain of."""
    task: Task | None = None
    callbacks: dict[str, Callback] = field(default_factory=dict)
    addresses: dict[str, None] = field(default_factory=dict)

    counted: int = 0
    """What it was last found to take."""

    def size(self) -> int:
        """Count what it takes to keep this."""
        resumes = () if self.task is None else self.task.resumes
        obligations = (len(each) for each in (*self.callbacks, *self.addresses, *resumes))
        return OVERHEAD_BYTES + counted_bytes(self.promise) + 4 * sum(obligations)

    @property
    def is_large(self) -> bool:
        """Whether it has more obligations than are kept."""
        resumes = 0 if self.task is None else len(self.task.resumes)
        return max(len(self.callbacks), len(self.addresses), resumes) > OBLIGATIONS_MAX


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of some promises, and what must hold for it to be true."""

    known: Collection[Known]
    now_ms: int
    at_ms: int | None
    """The same if somebody named it, none if the database's clock is to be asked as well."""
    revisions: Mapping[str, int]
    absent: frozenset[str]
    """Taken for ids that do not exist, since operations create them: true once they have."""


class KnownPromises:
    """Pending promises of the latest transactions, least recently used first."""

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._taken: dict[str, None] = {}
        """Ids that were taken for absent in vain; whoever names them again looks at once."""
        self._pause = 0
        self._left = 0
        self.children = KnownChildren()
        """Of those tasks whose promise is known."""

    # Knowing

    def may_answer(self, plan: Plan) -> bool:
        """Whether knowledge might suffice: asked once for each transaction."""
        if self._left:
            self._left -= 1
            return False
        return _is_plain(plan)

    def recall(
        self, plan: Plan, *, due: Collection[str] = (), now_ms: int, at_ms: int | None = None
    ) -> Recalled | None:
        """Answer a plan, and what was found to be due, out of knowledge if that suffices."""
        ids = plan.ids.union(due)
        found = self._find(ids, plan.created)
        if found is None:
            return None
        for promise_id in found:
            self._known.move_to_end(promise_id)
        return Recalled(
            known=found.values(),
            now_ms=now_ms,
            at_ms=at_ms,
            revisions={i: known.revision or 0 for i, known in found.items()},
            absent=frozenset(ids.difference(found)),
        )

    def _find(self, ids: set[str], created: Collection[str]) -> dict[str, Known] | None:
        """Find promises with these ids, and the awaiters; what is to be created may be absent."""
        known = self._known
        found = {promise_id: known[promise_id] for promise_id in ids if promise_id in known}
        absent = ids.difference(found)
        if not absent.issubset(created) or not absent.isdisjoint(self._taken):
            return None
        awaiters = {awaiter for each in found.values() for awaiter in each.callbacks}
        for awaiter in awaiters.difference(found):
            if awaiter not in known:
                return None
            found[awaiter] = known[awaiter]
        return found

    def held(self) -> None:
        """Note that what was recalled was true."""
        self._pause //= 2

    def failed(self, recalled: Recalled) -> None:
        """Forget what was not true, and look more often for a while: it may be so again."""
        for promise_id in recalled.revisions:
            self.forget(promise_id)
        self._taken |= dict.fromkeys(recalled.absent)
        while len(self._taken) > TAKEN_MAX:
            del self._taken[next(iter(self._taken))]
        self._pause = min(2 * self._pause + 1, PAUSE_MAX)
        self._left = self._pause

    # Learning

    def compare(self, read: Known) -> None:
        """Forget an awaiter that was read with another revision; only part of it was."""
        known = self._known.get(read.promise.id)
        if known is not None and known.revision != read.revision:
            self.forget(read.promise.id)

    def learn(self, known: Known) -> None:
        """Keep what was read under its lock."""
        promise = known.promise
        former = self._pop(promise.id)
        is_settled = promise.state is not PromiseState.PENDING
        is_kept = not (is_settled or known.revision is None or known.is_large)
        if former is None or former.revision != known.revision or not is_kept:
            self.children.forget(promise.id)
        if not is_kept:
            return
        self._known[promise.id] = known
        self._taken.pop(promise.id, None)
        self._count(known)

    def forget(self, promise_id: str) -> None:
        """Know nothing about a promise."""
        self._pop(promise_id)
        self.children.forget(promise_id)

    def _pop(self, promise_id: str) -> Known | None:
        known = self._known.pop(promise_id, None)
        if known is not None:
            self._bytes -= known.counted
        return known

    def _bound(self, promise_id: str) -> None:
        """Forget a promise that has grown too large; another one that grew may have cost it."""
        known = self._known.get(promise_id)
        if known is None:
            return
        if known.is_large:
            self.forget(promise_id)
        else:
            self._count(known)

    def _count(self, known: Known) -> None:
        """Count again what has grown, and make room."""
        size = known.size()
        self._bytes += size - known.counted
        known.counted = size
        while self._bytes > self._bytes_max:
            self.forget(next(iter(self._known)))

    def apply(self, changes: Changes, revision: int) -> None:
        """Do to what is known what a committed transaction did to the rows."""
        known = self._known
        for promise in changes.promises_created:
            self.learn(Known(promise, revision))
        for promise in changes.promises_updated:
            if promise.state is not PromiseState.PENDING:
                self.forget(promise.id)
            elif promise.id in known:
                known[promise.id].promise = promise
        for task in (*changes.tasks_created, *changes.tasks_updated):
            if task.id in known:
                known[task.id].task = task
        self._apply_obligations(changes)
        for promise_id in revised(changes).intersection(known):
            known[promise_id].revision = revision
        for promise_id in _obliged(changes):
            self._bound(promise_id)
        self.children.note(changes.promises_created)
        self.children.note(changes.promises_updated)

    def learn_children(self, preloads: Mapping[str, Preload]) -> None:
        """Keep the children of known tasks, as they are after the last transaction.

        A task that does not begin its branch has others of that branch in its preload, too.
        """
        for task_id, preload in preloads.items():
            known = self._known.get(task_id)
            if known is None or not preload.complete:
                continue
            if known.promise.tags.get(BRANCH) == task_id:
                self.children.begin(task_id, preload.promises)

    def _apply_obligations(self, changes: Changes) -> None:
        known = self._known
        for awaited, awaiter in changes.callbacks_removed:
            if awaited in known:
                known[awaited].callbacks.pop(awaiter, None)
        for callback in changes.callbacks_saved:
            if callback.awaited in known:
                known[callback.awaited].callbacks[callback.awaiter] = callback
        for promise_id in changes.listeners_cleared:
            if promise_id in known:
                known[promise_id].addresses.clear()
        for promise_id, address in changes.listeners_added:
            if promise_id in known:
                known[promise_id].addresses[address] = None


def revised(changes: Changes) -> set[str]:
    """List the promises that exist already and get a new revision."""
    ids = {promise.id for promise in changes.promises_updated}
    ids.update(task.id for task in changes.tasks_created)
    ids.update(task.id for task in changes.tasks_updated)
    ids.update(callback.awaited for callback in changes.callbacks_saved)
    ids.update(awaited for awaited, _ in changes.callbacks_removed)
    ids.update(promise_id for promise_id, _ in changes.listeners_added)
    ids.update(changes.listeners_cleared)
    ids.update(task_id for task_id, _ in changes.resumes_added)
    ids.update(changes.resumes_cleared)
    return ids.difference(promise.id for promise in changes.promises_created)


def _obliged(changes: Changes) -> set[str]:
    """List the promises that have more obligations than before."""
    ids = {callback.awaited for callback in changes.callbacks_saved}
    ids.update(promise_id for promise_id, _ in changes.listeners_added)
    ids.update(task_id for task_id, _ in changes.resumes_added)
    return ids


def _is_plain(plan: Plan) -> bool:
    """Whether a plan asks for promises that it names or that are due, and for nothing else."""
    others = (plan.pids, plan.queued, plan.behind, plan.turns, plan.schedules, plan.firing)
    return bool(plan.ids or plan.due_max) and not any(others)


def working_set_of(found: Iterable[Known], *, schedules: Iterable[Schedule] = ()) -> WorkingSet:
    """Lay out what is known of some promises, and these schedules."""
    promises: list[Promise] = []
    tasks: list[Task] = []
    callbacks: list[Callback] = []
    listeners: list[tuple[str, str]] = []
    for known in found:
        promises.append(known.promise)
        if known.task is not None:
            tasks.append(known.task)
        callbacks += known.callbacks.values()
        listeners += [(known.promise.id, address) for address in known.addresses]
    return WorkingSet(
        promises=promises,
        tasks=tasks,
        callbacks=callbacks,
        listeners=listeners,
        schedules=schedules,
    )
