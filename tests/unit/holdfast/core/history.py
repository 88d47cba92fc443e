"""Random histories of one store: the moves, where they aim, and what clients may observe (§10.3).

The machine judges I1 to I19 and T1 to T21 after every step; a history adds B2 to B5, B7 to B9, B11
and B12. It draws nothing itself: a move's arguments come from the pools of its table row, chosen by
whoever drives it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from holdfast.core import steps
from holdfast.core.profile import (
    AwaitInternal,
    EmptyHeartbeat,
    OriginCheck,
    Profile,
    ScopeExternal,
)
from holdfast.core.records import (
    DELAY,
    Promise,
    PromiseState,
    ReleaseReason,
    Task,
    TaskState,
    WaitMode,
    is_live,
    project,
    view,
)
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.validation import validate
from holdfast.core.working_set import WorkingSet
from tests.unit.holdfast.core.build import (
    EXT,
    GLOBAL,
    INTERNAL,
    LOCAL,
    TGT,
    TMR,
    acquire,
    callback,
    create,
    fence,
    fulfill,
    heartbeat,
    listener,
    record,
    settle,
    suspend,
    task_create,
)
from tests.unit.holdfast.core.machine import Machine, wire

PROFILES = [
    Profile(retry_interval_ms=40, pacing_ms=9, unknown_function_releases_max=2),
    Profile(
        retry_interval_ms=5,
        pacing_ms=9,
        unknown_function_releases_max=0,
        await_internal=AwaitInternal.ALLOW,
        scope_external=ScopeExternal.OFF,
        empty_heartbeat=EmptyHeartbeat.OK,
    ),
    Profile(
        retry_interval_ms=40,
        pacing_ms=0,
        scope_external=ScopeExternal.GLOBAL,
        origin_check=OriginCheck.COMPOSITE,
        empty_heartbeat=EmptyHeartbeat.REJECT,
    ),
]

HELD = (TaskState.ACQUIRED,)
WAITING = (TaskState.PENDING,)
OPEN = (TaskState.PENDING, TaskState.ACQUIRED, TaskState.SUSPENDED)
REPEATABLE = (
    PromiseCreate,
    PromiseSettle,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    TaskHalt,
)

TELLING_OF_WAKES = (TaskGet, TaskAcquire, TaskCreate)
"""Whose answers may show whether a settlement has been discharged yet (§14 on §4.1)."""

# Pools that arguments are drawn from. The first entry is the simplest.
IDS = ["r", "r.1", "q", "r.2", "r.3", "r.4", "q.5"]
CHOICES = range(24)
TAGS = [EXT, TGT, EXT, TGT, TMR, LOCAL, GLOBAL, INTERNAL, TMR | TGT, TGT | {DELAY: "1020"}]
SPANS = [1_000, 1_000, 60, 20, 5, 0, -7]
TTLS = [500, 25, 10]
PIDS = ["p1", "p2"]
INSTANCES = [None, "i1", "i2"]
DRIFTS = [0, 0, 0, 0, 0, 0, 0, -1, 1]
VERDICTS = ["resolved", "resolved", "resolved", "rejected", "rejected_canceled", "pending"]
MODES = list(WaitMode)
REASONS = [None, ReleaseReason.UNKNOWN_FUNCTION, ReleaseReason.OVERLOADED]


class History:
    """One store, and what its clients have been told."""

    def __init__(self, profile: Profile = PROFILES[0], span: int = 60) -> None:
        self.machine = Machine(profile)
        self.now_ms = 1_000
        self.seen: Counter[tuple[str, int]] = Counter()
        """Outcomes so far: kind of request and status."""
        self._settled: dict[str, tuple[object, ...]] = {}
        self._ended: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._acquired: set[tuple[str, int]] = set()
        # Begin where something can happen: one held task, two promises to wait for.
        deadline_ms = self.now_ms + 1_000
        self.perform(task_create("r", ttl_ms=25, timeout_at_ms=deadline_ms))
        self.perform(create("r.2", EXT, timeout_at_ms=self.now_ms + span))
        self.perform(create("r.3", EXT, timeout_at_ms=deadline_ms))

    # Aim: mostly at what the operation is for, every sixth time at anything

    def a_promise(self, choice: int) -> str:
        """Aim at a live promise."""
        promises = self.machine.state.promises
        live = [i for i in IDS if i in promises and is_live(promises[i], self.now_ms)]
        return self.aim(choice, live)

    def an_awaitable(self, choice: int) -> str:
        """Aim at a promise without a task."""
        promises = self.machine.state.promises
        return self.aim(choice, [i for i in IDS if i in promises and not promises[i].target])

    def a_task(self, choice: int, states: tuple[TaskState, ...]) -> str:
        """Aim at a task in one of some stored states."""
        tasks = self.machine.state.tasks
        return self.aim(choice, [i for i in IDS if i in tasks and tasks[i].state in states])

    def aim(self, choice: int, candidates: Sequence[str]) -> str:
        chosen_from = candidates if candidates and choice % 6 != 5 else IDS
        return chosen_from[choice % len(chosen_from)]

    def version(self, task_id: str, drift: int) -> int:
        """Read the current version of a task, or one beside it."""
        task = self.machine.state.tasks.get(task_id)
        return max(0, (0 if task is None else task.version) + drift)

    # Operations

    def create(self, promise_id: str, kind: dict[str, str], span: int) -> None:
        self.perform(create(promise_id, kind, timeout_at_ms=self.now_ms + span))

    def read(self, promise_id: str) -> None:
        self.perform(PromiseGet(id=promise_id))
        self.perform(TaskGet(id=promise_id))

    def settle(self, choice: int, state: str) -> None:
        self.perform(settle(self.a_promise(choice), state, data=f"{self.now_ms}"))

    def settle_what_is_awaited(self, choice: int, state: str) -> None:
        awaited = sorted({awaited for awaited, _ in self.machine.state.callbacks})
        self.perform(settle(self.aim(choice, awaited), state, data=f"{self.now_ms}"))

    def register_callback(self, awaited: int, awaiter: int) -> None:
        self.perform(callback(self.a_promise(awaited), self.a_task(awaiter, OPEN)))

    def register_listener(self, awaited: int, number: int) -> None:
        self.perform(listener(self.a_promise(awaited), f"poll://uni@g/{number % 3}"))

    def create_task(
        self, choice: int, pid: str, ttl_ms: int, span: int, instance: str | None
    ) -> None:
        task_id, deadline_ms = self.a_task(choice, WAITING), self.now_ms + span
        self.perform(
            task_create(
                task_id, pid=pid, ttl_ms=ttl_ms, timeout_at_ms=deadline_ms, instance=instance
            )
        )

    def acquire(self, choice: int, drift: int, pid: str, ttl_ms: int, instance: str | None) -> None:
        task_id = self.a_task(choice, WAITING)
        version = self.version(task_id, drift)
        self.perform(acquire(task_id, version, pid=pid, ttl_ms=ttl_ms, instance=instance))

    def release(
        self, choice: int, drift: int, wait: int | None, reason: ReleaseReason | None
    ) -> None:
        task_id = self.a_task(choice, HELD)
        not_before_ms = None if wait is None else self.now_ms + wait
        version = self.version(task_id, drift)
        self.perform(
            TaskRelease(id=task_id, version=version, not_before_ms=not_before_ms, reason=reason)
        )

    def fulfill(self, choice: int, drift: int, state: str) -> None:
        task_id = self.a_task(choice, HELD)
        self.perform(fulfill(task_id, self.version(task_id, drift), state, data="done"))

    def suspend(self, choice: int, drift: int, first: int, second: int, mode: WaitMode) -> None:
        task_id = self.a_task(choice, HELD)
        waits = dict.fromkeys(self.an_awaitable(number) for number in (first, second))
        self.perform(suspend(task_id, self.version(task_id, drift), *waits, mode=mode))

    def suspend_badly(self, choice: int, awaited: int) -> None:
        """On nothing, or on one promise twice."""
        task_id = self.a_task(choice, HELD)
        waits = [self.an_awaitable(awaited)] * 2 if awaited % 2 else []
        self.perform(suspend(task_id, self.version(task_id, 0), *waits))

    def fence_create(
        self, choice: int, drift: int, promise_id: str, kind: dict[str, str], span: int
    ) -> None:
        task_id = self.a_task(choice, HELD)
        action = create(promise_id, kind, timeout_at_ms=self.now_ms + span)
        self.perform(fence(task_id, self.version(task_id, drift), action))

    def fence_settle(self, choice: int, drift: int, settled: int, state: str) -> None:
        task_id = self.a_task(choice, HELD)
        action = settle(self.a_promise(settled), state, data="fenced")
        self.perform(fence(task_id, self.version(task_id, drift), action))

    def fence_record(self, choice: int, drift: int, promise_id: str, span: int, state: str) -> None:
        task_id = self.a_task(choice, HELD)
        action = record(promise_id, state, data="over", timeout_at_ms=self.now_ms + span)
        self.perform(fence(task_id, self.version(task_id, drift), action))

    def heartbeat(self, pid: str, first: int, second: int, drift: int) -> None:
        refs = [(self.a_task(choice, HELD), drift) for choice in (first, second)]
        named = refs[: first % 3]
        self.perform(heartbeat(pid, *((i, self.version(i, drift)) for i, drift in named)))

    def halt(self, choice: int, drift: int | None) -> None:
        task_id = self.a_task(choice, OPEN)
        version = None if drift is None else self.version(task_id, drift)
        self.perform(TaskHalt(id=task_id, version=version))

    def continue_(self, choice: int) -> None:
        self.perform(TaskContinue(id=self.a_task(choice, (TaskState.HALTED,))))

    def lose_a_process(self, pid: str, instance: str) -> None:
        self.machine.release_instance(pid=pid, instance=instance, now_ms=self.now_ms)

    def chain(
        self, choice: int, awaited: int, promise_id: str, kind: dict[str, str], mode: WaitMode
    ) -> None:
        """Send a pass in one transaction; the machine compares with one operation after another."""
        task_id, other = self.a_task(choice, HELD), self.an_awaitable(awaited)
        version = self.version(task_id, 0)
        chain: list[Request] = [
            fence(task_id, version, create(promise_id, kind, timeout_at_ms=self.now_ms + 60)),
            suspend(task_id, version, *dict.fromkeys([promise_id, other]), mode=mode),
            settle(other, data="chained"),
            settle(promise_id, data="chained"),
            acquire(task_id, version),
            fulfill(task_id, version + 1),
        ]
        valid = [r for r in chain if validate(r, self.machine.profile) is None]
        outcomes = self.machine.chain(*valid, now_ms=self.now_ms)
        for request, outcome in zip(valid, outcomes, strict=True):
            if isinstance(outcome, Done):
                self.observe(request, outcome)

    # Time and background

    def pass_time(self, span_ms: int) -> None:
        self.now_ms += span_ms

    def pass_time_to_the_next_timer(self, offset_ms: int) -> None:
        """Land on, just before and just after the instants at which something changes."""
        state = self.machine.state
        timers = [p.timeout_at_ms for p in state.promises.values()]
        timers += [task.due_at_ms or 0 for task in state.tasks.values()]
        ahead = [at_ms + offset_ms for at_ms in timers if at_ms + offset_ms > self.now_ms]
        self.now_ms = min(ahead, default=self.now_ms)

    def tick(self) -> None:
        self.machine.tick(self.now_ms)

    def one_background_step(self, first: str, second: str, number: int) -> None:
        """Any internal step, on any rows, in any order, due or not: it must be harmless."""
        some, now_ms, profile = [first, second], self.now_ms, self.machine.profile
        kinds: list[Callable[[WorkingSet], int]] = [
            lambda ws: steps.expire_promises(ws, some, now_ms=now_ms),
            lambda ws: steps.dispatch(ws, some, now_ms=now_ms, profile=profile),
            lambda ws: steps.expire_leases(ws, some, now_ms=now_ms),
        ]
        self.machine.internal(kinds[number % len(kinds)], now_ms=now_ms)

    def deliver_an_execute(self, choice: int) -> None:
        self.machine.claim(self.a_task(choice, WAITING), now_ms=self.now_ms)

    def deliver_unblocks(self) -> None:
        for _, promise in self.machine.take_unblocks(now_ms=self.now_ms):
            assert promise.state is not PromiseState.PENDING
            self.observe_promise(promise)

    # What clients may observe

    def perform(self, request: Request) -> None:
        before = self.machine.state
        swept = self.swept_twin()
        outcome = self.machine.do(request, now_ms=self.now_ms)
        self.seen[type(request).__name__, outcome.status] += 1
        if swept is not None and not isinstance(request, TELLING_OF_WAKES):
            same = swept.do(request, now_ms=self.now_ms)
            assert answer(same) == answer(outcome), "B12: sweeping changes no answer"
        if isinstance(outcome, Refusal):
            assert self.machine.state == before, "B11: what is refused changes nothing"
            return
        self.observe(request, outcome)
        if isinstance(request, REPEATABLE) and getattr(request, "version", None) is None:
            self.repeat(request, outcome)

    def swept_twin(self) -> Machine | None:
        """Copy the store and settle what is past its deadline; `None` when nothing is."""
        overdue = [
            promise.id
            for promise in self.machine.state.promises.values()
            if promise.state is PromiseState.PENDING and promise.timeout_at_ms <= self.now_ms
        ]
        if not overdue:
            return None
        twin, now_ms = self.machine.copy(), self.now_ms
        twin.internal(lambda ws: steps.expire_promises(ws, overdue, now_ms=now_ms), now_ms=now_ms)
        return twin

    def repeat(self, request: Request, first: Done) -> None:
        """B8: twice does no more than once, and answers the same record."""
        after = self.machine.state
        second = self.machine.do(request, now_ms=self.now_ms)
        assert isinstance(second, Done)
        assert self.machine.state == after, "B8"
        if first.promise is not None and second.promise is not None:
            assert wire(second.promise) == wire(first.promise), "B8"
        if isinstance(request, PromiseSettle):
            other = settle(request.id, "rejected", "another value")
            absorbed = self.machine.do(other, now_ms=self.now_ms)
            assert isinstance(absorbed, Done)
            assert absorbed.promise == second.promise, "B9: settle twice = settle once"
            assert self.machine.state == after, "B9"

    def observe(self, request: Request, outcome: Done) -> None:
        match request:
            case TaskAcquire():
                granted = (request.id, request.version)
                assert granted not in self._acquired, "B4: one 200 per id and version"
                self._acquired.add(granted)
            case TaskFulfill() | TaskSuspend() | TaskFence() | TaskRelease():
                newer = {v for i, v in self._acquired if i == request.id and v >= request.version}
                assert not newer, "B7: a fenced write behind a newer acquisition"
        if isinstance(outcome.action, Done) and outcome.action.promise is not None:
            self.observe_promise(outcome.action.promise)
        if outcome.promise is not None:
            self.observe_promise(outcome.promise)
        if outcome.task is not None:
            self.observe_task(outcome.task)

    def observe_promise(self, promise: Promise) -> None:
        if promise.state is not PromiseState.PENDING:
            assert self._settled.setdefault(promise.id, wire(promise)) == wire(promise), "B2"
        else:
            assert promise.id not in self._settled, "B2"

    def observe_task(self, task: Task) -> None:
        assert task.version >= self._versions.get(task.id, 0), "B5: versions never decrease"
        self._versions[task.id] = task.version
        if task.id in self._ended:
            assert task.state is TaskState.FULFILLED, "B3"
            assert task.version == self._ended[task.id], "B3"
        elif task.state is TaskState.FULFILLED:
            self._ended[task.id] = task.version

    def observe_everything(self) -> None:
        """Compare what gets would answer now with everything that was told before."""
        state = self.machine.state
        for promise in state.promises.values():
            self.observe_promise(project(promise, self.now_ms))
        for task in state.tasks.values():
            self.observe_task(view(task, state.promises[task.id], self.now_ms))


def answer(outcome: Done | Refusal | None) -> tuple[object, ...]:
    """Show what a client sees of an answer to an operation on promises or by a holder."""
    if not isinstance(outcome, Done):
        return () if outcome is None else (outcome.status,)
    promise = None if outcome.promise is None else wire(outcome.promise)
    return (outcome.status, promise, outcome.created, *answer(outcome.action))


MOVES: Mapping[str, tuple[int, tuple[Sequence[object], ...]]] = {
    "create": (4, (IDS, TAGS, SPANS)),
    "read": (1, (IDS,)),
    "settle": (2, (CHOICES, VERDICTS)),
    "settle_what_is_awaited": (3, (CHOICES, VERDICTS)),
    "register_callback": (2, (CHOICES, CHOICES)),
    "register_listener": (2, (CHOICES, CHOICES)),
    "create_task": (3, (CHOICES, PIDS, TTLS, SPANS, INSTANCES)),
    "acquire": (6, (CHOICES, DRIFTS, PIDS, TTLS, INSTANCES)),
    "release": (2, (CHOICES, DRIFTS, [None, 0, 30], REASONS)),
    "fulfill": (1, (CHOICES, DRIFTS, VERDICTS)),
    "suspend": (7, (CHOICES, DRIFTS, CHOICES, CHOICES, MODES)),
    "suspend_badly": (1, (CHOICES, CHOICES)),
    "fence_create": (4, (CHOICES, DRIFTS, IDS, TAGS, SPANS)),
    "fence_settle": (3, (CHOICES, DRIFTS, CHOICES, VERDICTS)),
    "fence_record": (2, (CHOICES, DRIFTS, IDS, SPANS, VERDICTS)),
    "heartbeat": (2, (PIDS, CHOICES, CHOICES, DRIFTS)),
    "halt": (3, (CHOICES, [None, None, 0, 1])),
    "continue_": (2, (CHOICES,)),
    "lose_a_process": (1, (PIDS, INSTANCES[1:])),
    "chain": (2, (CHOICES, CHOICES, IDS, TAGS, MODES)),
    "pass_time": (4, ([1, 4, 9, 30],)),
    "pass_time_to_the_next_timer": (3, ([0, 0, -1, 1],)),
    "tick": (4, ()),
    "one_background_step": (3, (IDS, IDS, CHOICES)),
    "deliver_an_execute": (2, (CHOICES,)),
    "deliver_unblocks": (1, ()),
}
"""Methods of a history, how often each is drawn, and the pools of its arguments."""
