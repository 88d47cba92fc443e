"""The batch engine: requests that arrive while a transaction runs form the next batch.

A batch is one load, pure decisions in order, one save, one commit, each set-based;
answers and messages go out after the commit. Due work, waiting tasks and lost leases ride in the
same batches. Nothing here knows a database, a protocol or a rule.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.limits import CHAIN_OPERATIONS_MAX
from holdfast.core.membership import Member
from holdfast.core.profile import DEFAULT_PROFILE, Profile, Search
from holdfast.core.requests import SKIPPED, Outcome, Refusal, Request
from holdfast.core.schedule import Due
from holdfast.core.validation import validate
from holdfast_chassis.logs import get_logger
from holdfast_store.background import RETRY_PAUSE_S, Background
from holdfast_store.batches import Answer, Back, Batch, Committed, Entry, Gone, at_seat
from holdfast_store.clock import Clock
from holdfast_store.deciding import Decider
from holdfast_store.deliveries import Deliveries
from holdfast_store.firing import Firing, FiringRefused
from holdfast_store.intake import ANYBODY, Intake
from holdfast_store.members import Inbox, Members, MemberStatus, Seat
from holdfast_store.moments import Pass, of_one_instant_each
from holdfast_store.observer import NullObserver, Observer
from holdfast_store.replicas import Share
from holdfast_store.runner import Made, Runner
from holdfast_store.searching import Searching
from holdfast_store.sizes import carried_bytes
from holdfast_store.statistics import Queue, Statistics
from holdfast_store.storage import Storage
from holdfast_store.suspects import Suspects
from holdfast_store.wakeups import News

log = get_logger(__name__)

LAPSE_PAUSE_S: Final = 0.01
"""Least pause before it is looked again whether a member that left has requests waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Bounds of the engine."""

    batch_operations_max: int = 1024
    batch_bytes_max: int = 16 * 1_048_576
    """Payloads of one transaction: a server gives a transaction up that takes long to arrive."""
    queue_operations_max: int = 50_000
    queue_bytes_max: int = 64 * 1_048_576
    """What may wait for its transaction, of which one stream may have half."""
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
        self._intake = Intake(
            operations_max=self._settings.queue_operations_max,
            bytes_max=self._settings.queue_bytes_max,
        )
        self._wake = asyncio.Event()
        self.statistics = Statistics(storage, self._members, clock=self._clock)
        self.searching = Searching(
            storage,
            clock=self._clock,
            observer=self._observer,
            is_on=profile.search is Search.ON,
        )
        suspects = Suspects()
        self.background = Background(
            storage,
            self._members,
            suspects,
            clock=self._clock,
            observer=self._observer,
            due_max=self._settings.due_max,
            wake=self._wake.set,
            later=self._later,
        )
        self.background.on_changed = self.statistics.invalidate
        self.background.on_left = self._leave
        self.on_news: Callable[[News], None] = lambda _news: None
        """Told what other stores may do that none here can."""
        self._deliveries = Deliveries(
            storage, self._members, observer=self._observer, later=self._later
        )
        decider = Decider(
            self._members,
            suspects,
            profile=profile,
            observer=self._observer,
            due_max=self._settings.due_max,
        )

        def runner(made: Made) -> Runner:
            return Runner(
                storage,
                decider,
                made,
                clock=self._clock,
                observer=self._observer,
                statements=statements,
                reached=reached,
                attempts_max=self._settings.attempts_max,
                preload_bytes_max=self._settings.preload_bytes_max,
            )

        self.firing = Firing(storage, self._fire, clock=self._clock, observer=self._observer)
        self.background.on_schedules_written = self.firing.reconsider
        self._runner = runner(self.background)
        self._runner_for = runner
        self._is_told_time = False
        """Whether callers have named instants: never, but in debug mode."""
        self._stage_ms: int | None = None
        """The last instant that one named."""
        self._moments: deque[Batch] = deque()
        self._loop: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._stopping = False

    # Life

    async def start(self) -> None:
        """Begin to run batches; the storage is open."""
        self._loop = asyncio.create_task(self._run(), name="engine")

    async def stop(self, *, grace_s: float = 5.0) -> None:
        """Refuse new work, answer what is queued, stop; what the grace cuts short is answered too.

        Background work is left as it is: the next process finds it in the database.
        """
        self._stopping = True
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        self._wake.set()
        tasks = [t for t in (self._loop, self._deliveries.working) if t is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        unanswered = [entry for moment in self._moments for entry in moment.entries]
        self._moments.clear()
        unanswered += self._intake.empty()
        message = "the store stopped before it answered"
        self._runner.refuse(unanswered, Refusal(status=503, code="store_stopping", message=message))

    def now_ms(self) -> int:
        """Read the store's clock."""
        return self._clock()

    async def ping(self) -> None:
        """Raise a `StorageError` when the database does not answer."""
        await self._storage.ping()

    # Requests

    def submit(
        self,
        chain: Sequence[Request],
        answer: Answer,
        *,
        session: Session | None = None,
        at_ms: int | None = None,
    ) -> None:
        """Queue operations for one transaction; refusals at the door are answered at once.

        With `at_ms` they are judged at exactly that instant; in debug mode only (§6.2).
        """
        refusal = self._refusal_at_door(chain)
        if refusal is not None:
            self._turn_away(chain, refusal, answer)
            return
        tail: Sequence[Outcome] = ()
        for index, request in enumerate(chain):
            flaw = validate(request, self._profile)
            if flaw is not None:
                if index == 0:  # a later one may turn out to be skipped
                    self._count(request, flaw.status)
                tail = [flaw, *[SKIPPED] * (len(chain) - index - 1)]
                chain = chain[:index]
                break
        if not chain:
            answer(tail)
            return
        # Not before it is known to be well formed: what is not may have no size.
        size = sum(map(carried_bytes, chain))
        sender = ANYBODY if session is None else session.seat
        refusal = self._intake.refusal(sender, operations=len(chain), size=size)
        if refusal is not None:
            self._turn_away([*chain, *tail], refusal, answer)
            return
        if session is not None:
            chain = [at_seat(request, session.seat) for request in chain]
        self._intake.put(sender, Entry(chain, answer, tail, size=size, at_ms=at_ms))
        if at_ms is not None:
            self._is_told_time, self._stage_ms = True, at_ms
        self._wake.set()

    def _turn_away(
        self, chain: Sequence[Request | Outcome], refusal: Refusal, answer: Answer
    ) -> None:
        """Answer a chain that does not come in; of the first operation it is counted."""
        for request in chain[:1]:
            self._observer.operation_answered(kind=type(request).__name__, status=refusal.status)
        answer([refusal, *[SKIPPED] * (len(chain) - 1)])

    def _refusal_at_door(self, chain: Sequence[Request]) -> Refusal | None:
        if not 1 <= len(chain) <= CHAIN_OPERATIONS_MAX:
            return Refusal(
                status=400,
                code="invalid_chain",
                message=f"a chain must have 1 to {CHAIN_OPERATIONS_MAX} operations",
            )
        if self._stopping:
            return Refusal(status=503, code="store_stopping", message="the store is stopping")
        return None

    def _count(self, request: Request, status: int) -> None:
        self._observer.operation_answered(kind=type(request).__name__, status=status)

    async def apply(self, *requests: Request, at_ms: int | None = None) -> Sequence[Outcome]:
        """Carry out a chain and wait for its outcomes; `at_ms` as in `submit`."""
        future: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

        def answer(outcomes: Sequence[Outcome]) -> None:
            if not future.done():
                future.set_result(outcomes)

        self.submit(requests, answer, at_ms=at_ms)
        return await future

    # Members

    def connect(self, member: Member, inbox: Inbox) -> Session:
        """Seat a member and give it what waits for it; raises `BadMember`."""
        seat = self._members.join(member, inbox, now_ms=self.now_ms())
        self.background.lose([Back(seat)])
        self.statistics.invalidate()
        self._deliveries.want(self._members.addresses_of(seat))
        if HTTP_GROUP in member.groups:
            self._deliveries.want_pushes()
        return Session(self, seat)

    def disconnect(self, seat: Seat, *, peer_closed: bool) -> None:
        """Unseat a member; after the grace its leases are given back if it did not return.

        Where it may return to is not known here: to another store of the same database, too. The
        leases say by their seat whether they were seen elsewhere since.
        """
        if not self._members.leave(seat):
            return
        self.statistics.invalidate()
        grace_ms = self._settings.stream_grace_ms
        if not peer_closed or grace_ms is None or self._stopping:
            return
        member = seat.member

        def lapse() -> None:
            if self._intake.has(seat):
                # What it asked for may take leases, and is carried out although nobody listens.
                self._later(max(grace_ms / 1000, LAPSE_PAUSE_S), lapse)
            elif not self._members.is_seated(member.pid, member.instance):
                gone = Gone(pid=member.pid, instance=member.instance, seat=seat.id)
                self.background.lose([gone])

        self._later(grace_ms / 1000, lapse)

    def take_leases_from(self, holders: Iterable[tuple[str, str]]) -> None:
        """Give back the leases of process starts, as pid and instance, that are gone for good.

        Wherever they were connected: only the one owner of a database can know that of all.
        """
        self.background.lose([Gone(pid=pid, instance=instance) for pid, instance in holders])

    def give_back(self, seat: Seat, credits: int) -> None:
        """Return credits of a member."""
        self._members.give_back(seat, credits)
        self._wake.set()

    def members(self) -> Sequence[MemberStatus]:
        """List connected members, by pid."""
        return self._members.status()

    async def queues(self, groups: Sequence[str] = ()) -> Sequence[Queue]:
        """Statistics of every group, or of the named ones; at most a second old."""
        return await self.statistics.queues(groups)

    @property
    def queues_version(self) -> int:
        """Which version of the statistics `queues` answered last."""
        return self.statistics.version

    async def queues_changed(self, *, since: int) -> None:
        """Return when the statistics may differ from those of a version."""
        await self.statistics.changed(since=since)

    # Other stores

    @property
    def has_neighbors(self) -> bool:
        """Whether other stores may be on the same database."""
        return self._members.has_neighbors

    @has_neighbors.setter
    def has_neighbors(self, there_are: bool) -> None:
        self._members.has_neighbors = there_are

    def hear(self, news: News) -> None:
        """Do what is told that another store could not do, as far as members here can."""
        if news.groups:
            self.background.hear(news.groups)
        if not news.everything:
            self._deliveries.hear(news.addresses)
            return
        self._deliveries.hear(self._members.addresses())
        if self._members.has_group(HTTP_GROUP):
            self._deliveries.want_pushes()

    def _leave(self, news: News) -> None:
        if self._members.has_neighbors:
            self.on_news(news)
        # Whoever joined while the batch was under way has looked too early.
        self._deliveries.hear(news.addresses)

    def shares(self) -> dict[str, Share]:
        """Tell what each group has here."""
        members = self._members
        return {
            group: Share(members.workers(group), members.free_credits(group))
            for group in members.groups()
        }

    # Background work

    def sweep(self) -> None:
        """Do what is due in the next batch."""
        self.background.sweep()

    async def _fire(self, dues: Sequence[Due], at_ms: int | None) -> list[int]:
        """Fire schedules in a transaction of their own, now, beside the batches of callers."""
        if at_ms is not None:
            self._is_told_time, self._stage_ms = True, at_ms
        made = Pass()
        await self._runner_for(made).run(Batch(firing=dues, at_ms=at_ms))
        if made.is_refused:
            raise FiringRefused("the database refuses what a schedule would create")
        committed = made.result()
        self.background.note_changes(committed.changes)
        return committed.decided.fired_late_ms

    # Debug mode

    async def sweep_at(self, at_ms: int) -> Committed:
        """Do a batch of what is due at an instant, now, beside the batches of callers.

        Raises a `StorageError` when that was not done. What it left to do another one finds.
        """
        self._is_told_time, self._stage_ms = True, at_ms
        made = Pass()
        await self._runner_for(made).run(Batch(due=True, at_ms=at_ms))
        committed = made.result()
        self.background.note_changes(committed.changes)
        return committed

    def forget(self) -> None:
        """Forget everything that is known of records: there are none any more."""
        self._stage_ms = None
        self._members.forget_tasks()
        self.background.forget()
        self.firing.forget()
        self.statistics.invalidate()

    # Batches

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._run_next():
                    if self._intake:
                        # A storage that never waits would keep out whoever has not come in yet.
                        await asyncio.sleep(0)
            except Exception:
                # Nothing is lost: what a batch takes off the queue the runner answers for.
                log.exception("engine_broke")
                self._later(RETRY_PAUSE_S, self._wake.set)
            if self._stopping:
                return

    async def _run_next(self) -> bool:
        """Run what waits, and some due rows that must be by themselves; answer if there was any."""
        batch = self._moments.popleft() if self._moments else self._next_batch()
        if batch:
            await self._runner.run(batch)
        suspects = Batch() if self._stopping else self.background.next_suspects()
        if suspects:
            await self._runner.run(suspects)
        return bool(batch or suspects)

    def _next_batch(self) -> Batch:
        batch = Batch()
        if not self._stopping:
            self.background.join(batch)
        batch.entries = self._intake.take(
            operations_max=self._settings.batch_operations_max,
            bytes_max=self._settings.batch_bytes_max,
        )
        if not self._is_told_time:
            return batch
        self._moments.extend(of_one_instant_each(batch, stage_ms=self._stage_ms))
        return self._moments.popleft() if self._moments else batch

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        if self._stopping:
            return

        def run() -> None:
            self._timers.discard(handle)
            action()

        handle = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(handle)
