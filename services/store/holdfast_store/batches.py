"""What one transaction does: from waiting chains to decisions, before anything is committed.

Free of I/O: rows come in loaded, decisions and placements go out. The engine loads, commits and
answers around it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core import schedule as schedules
from holdfast.core import steps
from holdfast.core import task as tasks
from holdfast.core.decide import Keys, decide_chain
from holdfast.core.membership import DeliveryMode, TaskOffer
from holdfast.core.profile import Profile, Undeliverable
from holdfast.core.records import (
    Preload,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Unblock,
    project,
)
from holdfast.core.requests import (
    Done,
    Outcome,
    Refusal,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskHeartbeat,
)
from holdfast.core.schedule import Due
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.backlog import NO_LOOKS, Looks, Seen
from holdfast_store.members import Members, NotPlaced, Relay, Seat, is_unborn
from holdfast_store.observer import Observer
from holdfast_store.storage import CommitOutcomeUnknown, Loaded, Plan, StorageError, Turn
from holdfast_store.suspects import NO_ROWS, DueRows, Suspects

Answer = Callable[[Sequence[Outcome]], None]

_WITH_PID: Final = frozenset({TaskCreate, TaskAcquire, TaskHeartbeat})


class Entry(Struct):
    """A chain that waits for its transaction; a struct, as one is made for every chain."""

    chain: Sequence[Request]
    answer: Answer
    tail: Sequence[Outcome] = ()
    """Outcomes of operations behind the chain, refused at the door."""
    is_answered: bool = False
    size: int = 0
    """Bytes that the chain carries."""
    at_ms: int | None = None
    """The instant that the caller named; only in debug mode (§6.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """One start of a process whose leases are given back."""

    pid: str
    instance: str
    seat: str | None = None
    """With one: only leases that stand for this connection; the process may be elsewhere."""


@dataclass(frozen=True, slots=True)
class Back:
    """A process that sits down: its leases follow it here, but those that it does not know of.

    It gets tasks from the commit of this on.
    """

    seat: Seat

    @property
    def pid(self) -> str:
        """Whose leases these are."""
        return self.seat.member.pid


@dataclass(slots=True)
class Batch:
    """What one transaction does."""

    entries: list[Entry] = field(default_factory=list)
    due: bool = False
    """Whether it sweeps what is due, but for the suspects."""
    suspects: DueRows = NO_ROWS
    """Due rows that are swept by themselves, since the database refused them among others."""
    lost: list[Gone | Back] = field(default_factory=list)
    looks: Looks = NO_LOOKS
    """Waiting tasks that are looked at."""
    firing: Sequence[Due] = ()
    """Schedules that fire, as they were read; such a batch does nothing else."""
    at_ms: int | None = None
    """The instant of everything in it, where somebody named one; else the clock tells it."""

    @property
    def has_background(self) -> bool:
        """Whether it does anything that no caller asked for."""
        return bool(self.due or self.suspects.ids or self.lost or self.looks or self.firing)

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.entries) or self.has_background

    def parts(self) -> "list[Batch]":
        """Take it apart, to find what the database refuses; a part that is alone stays one.

        What the clock caused goes apart first: a row that the database refuses must neither cost
        a caller its answer, nor keep other background work from being done.
        """
        background = [Batch(lost=[gone]) for gone in self.lost]
        background += [Batch(looks=looks) for looks in self.looks.apart()]
        if self.due:
            background.append(Batch(due=True))
        if self.suspects.ids:
            background.append(Batch(suspects=self.suspects))
        if self.firing:
            background.append(Batch(firing=self.firing))
        for part in background:
            part.at_ms = self.at_ms
        if not self.entries:
            return background
        if background:
            return [Batch(entries=self.entries, at_ms=self.at_ms), *background]
        middle = len(self.entries) // 2
        halves = (self.entries[:middle], self.entries[middle:])
        return [Batch(entries=half, at_ms=self.at_ms) for half in halves if half]


@dataclass(slots=True)
class Decided:
    """What a batch came to, before it is committed."""

    outcomes: list[list[Outcome]]
    pushes: list[tuple[Seat, Task]] = field(default_factory=list)
    offers: list[tuple[Seat, TaskOffer]] = field(default_factory=list)
    settled: list[tuple[Seat, Promise]] = field(default_factory=list)
    unblocks: list[tuple[Relay, str, Promise]] = field(default_factory=list)
    """What members send on, and to which address."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """Per group what a look at its waiting tasks found."""
    step_counts: dict[str, int] = field(default_factory=dict)
    lateness_ms: list[int] = field(default_factory=list)
    """How late the sweep came to each deadline and each lease that it ended."""
    fired_late_ms: list[int] = field(default_factory=list)
    """How late each occurrence of a schedule was fired."""

    def given(self) -> list[str]:
        """List the tasks that somebody is given."""
        return [task.id for _, task in self.pushes] + [offer.id for _, offer in self.offers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A batch whose transaction has committed, and what is to be said about it."""

    loaded: Loaded
    decided: Decided
    changes: Changes
    preloads: Mapping[str, Preload]


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
        self._observer = observer
        self._due_max = due_max
        self._drops = profile.undeliverable is Undeliverable.DROP

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
        self._place(ws, loaded, decided)
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

    def _place(self, ws: WorkingSet, loaded: Loaded, decided: Decided) -> None:
        """Give waiting tasks to members within this transaction.

        Those of trees whose turn it is come first: there are half as many of them as there is room
        for. Then the oldest, and then what became ready a moment ago.
        """
        seen = set(loaded.queued)
        in_turn = dict.fromkeys(turn.id for turn in loaded.turns if turn.id is not None)
        fresh = [t.id for t in ws.tasks_touched() if t.queued_at_ms is not None]
        for task_id in dict.fromkeys((*in_turn, *loaded.queued, *fresh)):
            task = ws.task(task_id)
            promise = ws.promise(task_id)
            if task is None or promise is None or task.queued_at_ms is None:
                continue
            waited = task_id in seen or task_id in in_turn
            if waited and not self._may_place(task, decided):
                continue
            placed = self._members.place(task, promise)
            is_placed = not isinstance(placed, NotPlaced)
            if task_id in seen:
                decided.seen[task.address.group].meet(placed=is_placed)
            elif task_id in in_turn and is_placed:
                decided.seen[task.address.group].in_turn += 1
            if not isinstance(placed, NotPlaced):
                self._hand_over(ws, task, placed, loaded.now_ms, decided)
            elif placed is NotPlaced.NO_MEMBER and self._drops and not self._members.has_neighbors:
                # The retry timer brings the message back, as in stores that hold nothing (§0.4).
                steps.claim_execute(ws, task_id, now_ms=loaded.now_ms, profile=self._profile)
                self._observer.delivered(status="dropped")

    def _may_place(self, task: Task, decided: Decided) -> bool:
        """Whether the database may be asked to give out a task that waited, beside the others."""
        group = task.address.group
        found = decided.seen[group]
        if self._members.asides.may_place(group=group, placed=found.taken):
            return True
        found.meet(placed=False)
        return False

    def _hand_over(
        self, ws: WorkingSet, task: Task, seat: Seat, now_ms: int, decided: Decided
    ) -> None:
        member = seat.member
        if member.delivery_mode is DeliveryMode.OFFERED:
            steps.claim_execute(ws, task.id, now_ms=now_ms, profile=self._profile)
            offer = TaskOffer(id=task.id, version=task.version, address=task.target)
            decided.offers.append((seat, offer))
            return
        request = TaskAcquire(
            id=task.id,
            version=task.version,
            pid=member.pid,
            ttl_ms=member.lease_ttl_ms,
            instance=member.instance,
            seat=seat.id,
        )
        outcome = tasks.acquire(ws, request, now_ms=now_ms)
        if isinstance(outcome, Done) and outcome.task is not None:
            decided.pushes.append((seat, outcome.task))
        else:  # its deadline passed a moment ago: the sweep settles it
            self._members.unplace(seat)

    def undo(self, decided: Decided) -> None:
        """Take back what was placed by a transaction that did not commit."""
        for seat, _ in (*decided.pushes, *decided.offers):
            self._members.unplace(seat)
        self._members.asides.undone(decided.given())

    def unreachable(self, ws: WorkingSet, decided: Decided) -> list[Unblock]:
        """Split messages into those a connected member gets after the commit, and the rest."""
        kept = []
        for unblock in ws.unblocks():
            # Whom the address prefers may sit at another store, which takes the message then.
            seat = self._members.seat_at(
                unblock.address, named=self._members.has_neighbors, about=unblock.promise_id
            )
            promise = ws.promise(unblock.promise_id)
            assert promise is not None
            if seat is None:
                kept.append(unblock)
            elif (relay := seat.relay) is not None:
                decided.unblocks.append((relay, unblock.address, promise))
            else:
                decided.settled.append((seat, promise))
        return kept


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


def preload_ids(decided: Decided) -> list[str]:
    """List the tasks whose children an answer or a push carries."""
    ids = {task.id for _, task in decided.pushes}
    for outcomes in decided.outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Done) and outcome.preload_of is not None:
                ids.add(outcome.preload_of)
    return list(ids)


def projected(preload: Preload, now_ms: int) -> Preload:
    """Answer a preload as its records read at an instant."""
    if all(p.settled_at_ms is not None or p.timeout_at_ms > now_ms for p in preload.promises):
        return preload
    return replace(preload, promises=tuple(project(p, now_ms) for p in preload.promises))


def with_preloads(outcomes: list[Outcome], preloads: Mapping[str, Preload]) -> list[Outcome]:
    """Fill in the preloads that outcomes ask for."""
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Done) and outcome.preload_of is not None:
            outcomes[index] = replace(outcome, preload=preloads[outcome.preload_of])
    return outcomes


def at_seat(request: Request, seat: Seat) -> Request:
    """Record who takes or extends a lease, and where, if the process asks for itself."""
    if type(request) not in _WITH_PID:  # one look-up, where nearly none is of these
        return request
    assert isinstance(request, (TaskCreate, TaskAcquire, TaskHeartbeat))
    if request.pid != seat.member.pid:
        return request
    return replace(request, instance=seat.member.instance, seat=seat.id)


def unavailable(error: StorageError) -> Refusal:
    """Say to a caller what a failed transaction means for its operation."""
    if isinstance(error, CommitOutcomeUnknown):
        return Refusal(
            status=503,
            code="outcome_unknown",
            message="the database broke during the commit: the operation happened or did not",
        )
    return Refusal(
        status=503, code="database_unavailable", message=f"the database cannot be used: {error}"
    )
