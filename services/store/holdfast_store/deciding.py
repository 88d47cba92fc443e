"""From waiting chains to decisions, before anything is committed.

Free of I/O: rows come in loaded, decisions and placements go out. The runner loads, commits and
answers around it.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from holdfast.core import schedule as schedules
from holdfast.core import steps
from holdfast.core.decide import Keys, decide_chain
from holdfast.core.profile import Profile
from holdfast.core.records import PromiseState, TaskState, Unblock
from holdfast.core.working_set import WorkingSet
from holdfast_store.backlog import Seen
from holdfast_store.batches import Back, Batch, Decided, Gone
from holdfast_store.members import Members, is_unborn
from holdfast_store.observer import Observer
from holdfast_store.placing import Placement
from holdfast_store.storage import Loaded, Plan, Turn
from holdfast_store.suspects import Suspects


class Decider:
    """Plans and decides batches for the members that are connected."""

    def __init__(
        self,
        members: Members,
        suspects: Suspects,
        *,
        profile: Profile,
        observer: Observer,
        due_max: int,
    ) -> None:
        self._members = members
        self._suspects = suspects
        self._profile = profile
        self._due_max = due_max
        self._placement = Placement(members, profile=profile, observer=observer)

    def plan(self, batch: Batch) -> Plan:
        """Say which rows a batch must see."""
        keys = Keys()
        for entry in batch.entries:
            for request in entry.chain:
                keys.add(request)
        keys.pids.update(gone.pid for gone in batch.lost)
        keys.ids.update(batch.suspects.ids)
        keys.ids.update(schedules.named_by(batch.firing))
        return Plan(
            ids=keys.ids,
            created=keys.created,
            pids=keys.pids,
            due_max=self._due_max if batch.due else 0,
            due_skip=self._suspects.skipped if batch.due else (),
            queued=batch.looks.oldest,
            behind=batch.looks.behind,
            turns=batch.looks.turns,
            schedules=keys.schedules,
            skip=self._members.asides.skipped,
            firing=[due.schedule.id for due in batch.firing],
            told=batch.at_ms is not None,
        )

    def decide(self, batch: Batch, loaded: Loaded) -> Decided:
        """Decide what lost members leave, then operations, then what is due, then placement."""
        ws, now_ms, profile = loaded.working_set, loaded.now_ms, self._profile
        seen = _seen(ws, loaded.queued, loaded.turns)
        # Leases are given back before anything else: an operation of this batch may take a new
        # one for the same process, and that one stands.
        lost = sum(_settle_leases(ws, each, now_ms) for each in batch.lost)
        decided = Decided(
            [decide_chain(ws, e.chain, now_ms=now_ms, profile=profile) for e in batch.entries],
            seen=seen,
        )
        decided.step_counts["lost"] = lost
        self._sweep(ws, batch, loaded, decided)
        self._placement.place(ws, loaded, decided)
        return decided

    def _sweep(self, ws: WorkingSet, batch: Batch, loaded: Loaded, decided: Decided) -> None:
        """Do what is due, and dispatch what became ready in this very batch."""
        now_ms, counts = loaded.now_ms, decided.step_counts
        due_promises = (*loaded.due_promises, *batch.suspects.promises)
        due_tasks = (*loaded.due_tasks, *batch.suspects.tasks)
        if due_promises:
            decided.lateness_ms += _late_deadlines(ws, due_promises, now_ms)
            counts["promise_timeout"] = steps.expire_promises(ws, due_promises, now_ms=now_ms)
        if due_tasks:
            decided.lateness_ms += _late_leases(ws, due_tasks, now_ms)
            counts["lease_expiry"] = steps.expire_leases(ws, due_tasks, now_ms=now_ms)
            self._members.forget(due_tasks)
        for due in batch.firing:
            fired = schedules.fire(ws, due, now_ms=now_ms)
            decided.fired_late_ms += [now_ms - at_ms for at_ms in fired]
        ready = [
            t.id
            for t in ws.tasks_touched()
            if t.state is TaskState.PENDING and t.queued_at_ms is None
        ]
        if ready or due_tasks:
            ready += [i for i in due_tasks if i not in ready]
            counts["dispatch"] = steps.dispatch(ws, ready, now_ms=now_ms, profile=self._profile)

    def undo(self, decided: Decided) -> None:
        """Take back what was placed by a transaction that did not commit."""
        self._placement.undo(decided)

    def unreachable(self, ws: WorkingSet, decided: Decided) -> list[Unblock]:
        """Split messages into those a connected member gets after the commit, and the rest."""
        return self._placement.unreachable(ws, decided)


def _settle_leases(ws: WorkingSet, lost: Gone | Back, now_ms: int) -> int:
    """Give back the leases that are lost with a connection; answer how many."""
    match lost:
        case Gone():
            return steps.release_instance(
                ws, pid=lost.pid, instance=lost.instance, seat=lost.seat, now_ms=now_ms
            )
        case Back(seat):
            member = seat.member
            _leave_unborn_seats(ws, lost.pid, now_ms)
            return steps.seat_instance(
                ws,
                pid=member.pid,
                instance=member.instance,
                seat=seat.id,
                held=member.held,
                now_ms=now_ms,
            )


def _leave_unborn_seats(ws: WorkingSet, pid: str, now_ms: int) -> None:
    """Let leases stand for no connection rather than for one that is younger than any can be.

    The store that has lost it answered by the clock as it was before that was set back. Whoever
    returns to another store would seem to have left that one first.
    """
    for task in list(ws.tasks()):
        if task.pid == pid and task.seat is not None and is_unborn(task.seat, now_ms=now_ms):
            ws.put_task(replace(task, seat=None))


def _seen(ws: WorkingSet, queued: Sequence[str], turns: Sequence[Turn]) -> dict[str, Seen]:
    """Note how far a look came in the queue of each group, before anything is decided."""
    seen: dict[str, Seen] = {}
    for task_id in queued:
        task = ws.task(task_id)
        if task is None:
            continue
        found = seen.setdefault(task.address.group, Seen())
        found.count += 1
        if task.queued_at_ms is not None:  # another replica may have taken it a moment ago
            found.last = (task.queued_at_ms, task_id)
    for turn in turns:
        found = seen.setdefault(turn.group, Seen())
        found.trees += 1
        found.last_tree = turn.tree
    return seen


def _late_deadlines(ws: WorkingSet, ids: Iterable[str], now_ms: int) -> Iterator[int]:
    """Yield how long ago the deadlines passed of promises that are about to be settled."""
    for promise_id in ids:
        promise = ws.promise(promise_id)
        if promise is not None and promise.state is PromiseState.PENDING:
            late_ms = now_ms - promise.timeout_at_ms
            if late_ms >= 0:
                yield late_ms


def _late_leases(ws: WorkingSet, ids: Iterable[str], now_ms: int) -> Iterator[int]:
    """Yield how long ago the leases ran out that are about to be ended."""
    for task_id in ids:
        task = ws.task(task_id)
        if task is not None and task.lease_at_ms is not None and task.lease_at_ms <= now_ms:
            yield now_ms - task.lease_at_ms
