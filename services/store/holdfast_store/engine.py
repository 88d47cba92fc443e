"""The batch engine: requests that arrive while a transaction runs form the next batch.

A batch is one load per table, pure decisions in order, one save per table and kind, one commit;
answers and messages go out after the commit. Due work, waiting tasks and lost leases ride in the
same batches. Nothing here knows a database, a protocol or a rule.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from holdfast.core.limits import CHAIN_OPERATIONS_MAX
from holdfast.core.membership import Member, TaskPush
from holdfast.core.profile import DEFAULT_PROFILE, Profile
from holdfast.core.requests import SKIPPED, Outcome, Refusal, Request, Skipped
from holdfast.core.validation import validate
from holdfast.core.working_set import Changes
from holdfast_chassis.logs import get_logger
from holdfast_store.batches import (
    Answer,
    Batch,
    Committed,
    Decided,
    Decider,
    Entry,
    Gone,
    is_refused,
    preload_ids,
    projected,
    unavailable,
    with_instance,
    with_preloads,
)
from holdfast_store.clock import Clock
from holdfast_store.members import Inbox, Members, MemberStatus, Seat
from holdfast_store.observer import NullObserver, Observer
from holdfast_store.statistics import Queue, Statistics
from holdfast_store.storage import (
    BatchRejected,
    InsertConflict,
    Storage,
    StorageError,
    TransactionAborted,
)

log = get_logger(__name__)

T = TypeVar("T")

RETRY_PAUSE_S = 1.0
"""Pause before background work is tried again on a database that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Bounds of the engine."""

    batch_operations_max: int = 1024
    queue_operations_max: int = 50_000
    due_max: int = 512
    preload_bytes_max: int = 1_048_576
    attempts_max: int = 8
    """Tries of one batch after serialization failures, deadlocks and insert conflicts."""
    stream_grace_ms: int | None = 100
    """Span after which the leases of a closed stream are given back; `None` leaves them."""


class Session:
    """One member's connection to the engine."""

    def __init__(self, engine: "Engine", seat: Seat) -> None:
        self._engine = engine
        self.seat = seat

    def give_back(self, credits: int) -> None:
        """Return credits; waiting tasks are given out at once."""
        self._engine.give_back(self.seat, credits)

    def drain(self) -> None:
        """Take no more tasks."""
        self.seat.draining = True

    def close(self, *, peer_closed: bool) -> None:
        """Leave. Only a peer that closed the connection itself gives its leases back early."""
        self._engine.disconnect(self.seat, peer_closed=peer_closed)


class Engine:
    """Runs batches one after the other over one storage.

    Invariants: an answer is called exactly once, on the event loop, after the commit that makes it
    true; a push leaves after the commit of its acquisition; nothing waits for a sleep.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], int] | None = None,
        profile: Profile = DEFAULT_PROFILE,
        settings: EngineSettings | None = None,
        observer: Observer | None = None,
        statements: Callable[[], int] = lambda: 0,
        reached: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """Put an engine together from finished parts.

        `statements` counts what the storage has executed so far. `reached` is told each point at
        which a crash would be interesting: `loaded`, `decided`, `committed`, `answered`.
        """
        self._storage = storage
        self._clock = clock or Clock()
        self._profile = profile
        self._settings = settings or EngineSettings()
        self._observer: Observer = observer or NullObserver()
        self._members = Members()
        self._decider = Decider(
            self._members,
            profile=profile,
            observer=self._observer,
            due_max=self._settings.due_max,
        )
        self._queue: deque[Entry] = deque()
        self._queued_operations = 0
        self._due_wanted = False
        self._lost: list[Gone] = []
        self._wake = asyncio.Event()
        self._statistics = Statistics(storage, self._members, clock=self._clock)
        self._runner: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._handovers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._statements = statements
        self._reached = reached
        self.on_due: Callable[[int], None] = lambda _at_ms: None
        """Told after each commit when something is due next among what changed."""
        self.on_swept: Callable[[bool], None] = lambda _more: None
        """Told after due work was done, and whether more is due already."""

    # Life

    async def start(self) -> None:
        """Begin to run batches; the storage is open."""
        self._members.expect_backlog(await self._storage.queued_groups())
        self._runner = asyncio.create_task(self._run(), name="engine")

    async def stop(self, *, grace_s: float = 5.0) -> None:
        """Refuse new work, answer what is queued, stop."""
        self._stopping = True
        for handle in self._timers:
            handle.cancel()
        self._wake.set()
        await asyncio.gather(*self._handovers)
        if self._runner is not None:
            try:
                async with asyncio.timeout(grace_s):
                    await self._runner
            except TimeoutError:
                self._fail_queue("the store stopped before it answered")

    def now_ms(self) -> int:
        """Read the store's clock."""
        return self._clock()

    async def ping(self) -> None:
        """Raise a `StorageError` when the database does not answer."""
        await self._storage.ping()

    # Requests

    def submit(
        self, chain: Sequence[Request], answer: Answer, *, session: Session | None = None
    ) -> None:
        """Queue operations for one transaction; refusals at the door are answered at once."""
        refusal = self._refusal_at_door(chain)
        if refusal is not None:
            answer([refusal, *[SKIPPED] * (len(chain) - 1)])
            return
        tail: Sequence[Outcome] = ()
        for index, request in enumerate(chain):
            flaw = validate(request, self._profile)
            if flaw is not None:
                tail = [flaw, *[SKIPPED] * (len(chain) - index - 1)]
                chain = chain[:index]
                break
        if not chain:
            answer(tail)
            return
        if session is not None:
            chain = [with_instance(request, session.seat.member) for request in chain]
        self._queue.append(Entry(chain, answer, tail))
        self._queued_operations += len(chain)
        self._wake.set()

    def _refusal_at_door(self, chain: Sequence[Request]) -> Refusal | None:
        if not 1 <= len(chain) <= CHAIN_OPERATIONS_MAX:
            return Refusal(
                status=400,
                code="invalid_chain",
                message=f"a chain must have 1 to {CHAIN_OPERATIONS_MAX} operations",
            )
        if self._stopping:
            return Refusal(status=503, code="store_stopping", message="the store is stopping")
        if self._queued_operations + len(chain) > self._settings.queue_operations_max:
            return Refusal(
                status=429,
                code="overloaded",
                message="the store's queue is full; send again after a pause",
            )
        return None

    async def apply(self, *requests: Request) -> Sequence[Outcome]:
        """Carry out a chain and wait for its outcomes."""
        future: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

        def answer(outcomes: Sequence[Outcome]) -> None:
            if not future.done():
                future.set_result(outcomes)

        self.submit(requests, answer)
        return await future

    # Members

    def connect(self, member: Member, inbox: Inbox) -> Session:
        """Seat a member and give it what waits for it; raises `BadMember`."""
        seat = self._members.join(member, inbox, now_ms=self.now_ms())
        if member.held is not None:
            self._lost.append(
                Gone(pid=member.pid, instance=member.instance, keep=member.held, back=seat)
            )
        self._wake.set()
        self._statistics.invalidate()
        if member.groups:
            handover = asyncio.create_task(self._deliver_waiting(seat), name="deliver-waiting")
            self._handovers.add(handover)
            handover.add_done_callback(self._handovers.discard)
        return Session(self, seat)

    async def _deliver_waiting(self, seat: Seat) -> None:
        """Hand over settled promises that waited for a member to come back.

        A failure loses messages at most, and whoever waits registers its listeners again.
        """
        try:
            promises = await self._storage.take_unblocks(self._members.addresses_of(seat))
        except StorageError as error:
            log.warning("unblocks_not_taken", error=str(error))
            return
        for promise in promises:
            seat.inbox.push_settled(promise)
            self._observer.message_claimed(kind="unblock")
            self._observer.delivered(status="success")

    def disconnect(self, seat: Seat, *, peer_closed: bool) -> None:
        """Unseat a member; after the grace its leases are given back if it did not return."""
        if not self._members.leave(seat):
            return
        self._statistics.invalidate()
        grace_ms = self._settings.stream_grace_ms
        if not peer_closed or grace_ms is None or self._stopping:
            return
        member = seat.member

        def lapse() -> None:
            if not self._members.is_seated(member.pid, member.instance):
                self.take_leases_from([(member.pid, member.instance)])

        self._later(grace_ms / 1000, lapse)

    def take_leases_from(self, holders: Iterable[tuple[str, str]]) -> None:
        """Give back the leases of process starts, as pid and instance, that are gone."""
        self._lost += [Gone(pid=pid, instance=instance) for pid, instance in holders]
        self._wake.set()

    def give_back(self, seat: Seat, credits: int) -> None:
        """Return credits of a member."""
        self._members.give_back(seat, credits)
        self._wake.set()

    def members(self) -> Sequence[MemberStatus]:
        """List connected members, by pid."""
        return self._members.status()

    async def queues(self, groups: Sequence[str] = ()) -> Sequence[Queue]:
        """Statistics of every group, or of the named ones; at most a second old."""
        return await self._statistics.queues(groups)

    async def queues_changed(self) -> None:
        """Return when the statistics may differ from what `queues` answered last."""
        await self._statistics.changed()

    # Background work

    def sweep(self) -> None:
        """Do what is due in the next batch."""
        self._due_wanted = True
        self._wake.set()

    # Batches

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (batch := self._next_batch()) is not None:
                await self._execute(batch)
            if self._stopping:
                return

    def _next_batch(self) -> Batch | None:
        batch = Batch()
        operations = 0
        while self._queue and operations < self._settings.batch_operations_max:
            entry = self._queue.popleft()
            operations += len(entry.chain)
            batch.entries.append(entry)
        self._queued_operations -= operations
        batch.due, self._due_wanted = self._due_wanted, False
        batch.lost, self._lost = self._lost, []
        batch.wanted = self._members.wanted()
        if batch.entries or batch.due or batch.lost or batch.wanted:
            return batch
        return None

    async def _execute(self, batch: Batch) -> None:
        """Run a batch to its answers, whatever the database does."""
        for attempt in range(self._settings.attempts_max):
            try:
                committed = await self._transact(batch)
            except (InsertConflict, TransactionAborted) as error:
                self._observer.batch_failed(kind=type(error).__name__)
                await asyncio.sleep(0.002 * 2**attempt)
            except BatchRejected as error:
                self._observer.batch_failed(kind=type(error).__name__)
                await self._halve(batch, error)
                return
            except StorageError as error:
                self._observer.batch_failed(kind=type(error).__name__)
                log.warning("batch_failed", error=str(error), kind=type(error).__name__)
                self._refuse(batch, unavailable(error))
                self._retry_later(batch)
                return
            except Exception as error:
                # A defect in a rule or an adapter must not end the engine: the callers learn
                # of it, and the invariant "exactly one answer" holds.
                self._observer.batch_failed(kind="Defect")
                log.exception("batch_broke", operations=len(batch.entries))
                if len(batch.entries) > 1 or (batch.entries and batch.has_background):
                    await self._halve(batch, error)
                    return
                self._refuse(batch, Refusal(status=500, code="internal", message=str(error)))
                self._retry_later(batch)
                return
            else:
                self._after_commit(batch, committed)
                self._reached("answered")
                return
        self._refuse(
            batch,
            Refusal(status=503, code="contention", message="the database stayed contended"),
        )
        self._retry_later(batch)

    async def _halve(self, batch: Batch, error: Exception) -> None:
        """Repeat a rejected batch in parts until the culprit is alone with its error.

        What the clock caused goes apart first: a due row that the database refuses must not cost
        a caller its answer.
        """
        if batch.entries and batch.has_background:
            await self._execute(Batch(entries=batch.entries))
            await self._execute(Batch(due=batch.due, lost=batch.lost, wanted=batch.wanted))
            return
        if len(batch.entries) <= 1:
            log.error("operation_rejected", error=str(error))
            self._refuse(
                batch, Refusal(status=500, code="rejected_by_database", message=str(error))
            )
            self._retry_later(batch)
            return
        middle = len(batch.entries) // 2
        await self._execute(Batch(entries=batch.entries[:middle]))
        await self._execute(Batch(entries=batch.entries[middle:]))

    def _refuse(self, batch: Batch, refusal: Refusal) -> None:
        for entry in batch.entries:
            self._give(entry, [refusal, *[SKIPPED] * (len(entry.chain) - 1)])

    def _retry_later(self, batch: Batch) -> None:
        """Put the background part of a failed batch into a later one, after a pause."""

        def restore() -> None:
            self._members.look_again(batch.wanted)
            self._lost += batch.lost
            self._due_wanted = self._due_wanted or batch.due
            self._wake.set()

        if batch.due or batch.lost or batch.wanted:
            self._later(RETRY_PAUSE_S, restore)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(handle)
            action()

        handle = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(handle)

    def _fail_queue(self, message: str) -> None:
        refusal = Refusal(status=503, code="store_stopping", message=message)
        while self._queue:
            entry = self._queue.popleft()
            self._give(entry, [refusal, *[SKIPPED] * (len(entry.chain) - 1)])

    async def _transact(self, batch: Batch) -> Committed:
        started, statements = perf_counter(), self._statements()
        decided: Decided | None = None
        committed = False
        try:
            async with self._storage.transaction() as transaction:
                loaded = await transaction.load(self._decider.plan(batch), now_ms=self._clock())
                self._reached("loaded")
                decided = self._decider.decide(batch, loaded)
                changes = loaded.working_set.changes()
                changes.unblocks = self._decider.unreachable(loaded.working_set, decided)
                self._reached("decided")
                preloads = await transaction.commit(
                    changes,
                    preload_of=preload_ids(decided),
                    preload_bytes_max=self._settings.preload_bytes_max,
                )
            committed = True
            self._reached("committed")
        finally:
            if decided is not None and not committed:
                for seat, _ in (*decided.pushes, *decided.offers):
                    self._members.unplace(seat)
        operations = sum(len(entry.chain) for entry in batch.entries)
        self._observer.batch_committed(
            operations=operations,
            statements=self._statements() - statements,
            seconds=perf_counter() - started,
        )
        return Committed(loaded=loaded, decided=decided, changes=changes, preloads=preloads)

    def _after_commit(self, batch: Batch, committed: Committed) -> None:
        """Answer and push; nothing that a receiver does can undo the commit or be retried."""
        loaded, decided = committed.loaded, committed.decided
        now_ms = loaded.now_ms
        preloads = {task_id: projected(p, now_ms) for task_id, p in committed.preloads.items()}
        self._members.looked(batch.wanted, decided.looks)
        for gone in batch.lost:
            if gone.back is not None:
                self._members.admit(gone.back)
        self._note_due(committed.changes)
        for entry, outcomes in zip(batch.entries, decided.outcomes, strict=True):
            self._give(entry, with_preloads(outcomes, preloads))
        for seat, task in decided.pushes:
            promise = loaded.working_set.promise(task.id)
            assert promise is not None
            push = TaskPush(task=task, promise=promise, preload=preloads[task.id])
            _tell(seat.inbox.push_task, push)
            self._observer.message_claimed(kind="execute")
        for seat, offer in decided.offers:
            _tell(seat.inbox.push_offer, offer)
            self._observer.message_claimed(kind="execute")
        for seat, promise in decided.settled:
            _tell(seat.inbox.push_settled, promise)
            self._observer.message_claimed(kind="unblock")
            self._observer.delivered(status="success")
        for kind, count in decided.step_counts.items():
            if count:
                self._observer.steps_ran(kind=kind, count=count)
        if batch.due:
            full = self._settings.due_max
            more = len(loaded.due_promises) >= full or len(loaded.due_tasks) >= full
            self._due_wanted = self._due_wanted or more
            self.on_swept(more)

    def _give(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        refused = any(is_refused(o) for o in outcomes)
        tail = [SKIPPED] * len(entry.tail) if refused else entry.tail
        everything = [*outcomes, *tail] if tail else outcomes
        for request, outcome in zip(entry.chain, outcomes, strict=False):
            status = 0 if isinstance(outcome, Skipped) else outcome.status
            self._observer.operation_answered(kind=type(request).__name__, status=status)
        _tell(entry.answer, everything)

    def _note_due(self, changes: Changes) -> None:
        due = [p.timeout_at_ms for p in changes.promises_created if p.armed]
        due += [p.timeout_at_ms for p in changes.promises_updated if p.armed]
        for task in (*changes.tasks_created, *changes.tasks_updated):
            at_ms = task.due_at_ms
            if at_ms is not None:
                due.append(at_ms)
        if due:
            self.on_due(min(due))
        if changes.tasks_created or changes.tasks_updated:
            self._statistics.invalidate()


def _tell(receiver: Callable[[T], None], message: T) -> None:
    """Call a receiver; a defect of its own must not cost others their answers."""
    try:
        receiver(message)
    except Exception:
        log.exception("receiver_broke")
