"""A process's part in the work: takes tasks, runs them, keeps their leases, gives them back."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.clock import Clock
from holdfast.codec import Codec
from holdfast.core.membership import TaskPush
from holdfast.core.records import Promise, PromiseState, ReleaseReason
from holdfast.core.requests import (
    Refusal,
    Request,
    TaskHalt,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
)
from holdfast.errors import DecodeError, ResonateError
from holdfast.logs import EventLog
from holdfast.meter import OTHER, Meter, TaskEnd, counted_name
from holdfast.port import Answer, Store
from holdfast.registry import Registry
from holdfast.retry import RetryPolicy
from holdfast.runtime.cancelling import Canceller
from holdfast.runtime.execution import Execution
from holdfast.runtime.lease import LeaseClock
from holdfast.runtime.root import Call, read_call, run_root
from holdfast.runtime.slow import SlowSteps
from holdfast.runtime.subscriptions import Subscriptions
from holdfast.runtime.threads import StepThreads

if TYPE_CHECKING:
    from holdfast.testing.crash_points import Observer

HEARTBEATS_PER_TTL = 3
HEARTBEAT_TASKS_MAX = 1_000
"""Leases in one heartbeat: bounds its transaction; more go out as further heartbeats."""

UNKNOWN_DELAY_MS_MIN = 1_000
UNKNOWN_DELAY_MS_MAX = 60_000
UNKNOWN_REMEMBERED_MAX = 10_000

RELEASE_S_MAX = 2.0
"""How long a stop waits for the answers to its releases."""

ENDING_ATTEMPTS_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Numbers of the runtime."""

    pid: str
    group: str
    default_target: str
    prefix: str | None
    ttl_ms: int
    lease_margin_ms: int
    """A step without a prior write starts only this far from the end of its lease."""
    slow_step_ms: int
    """A step that runs longer is announced to the store."""
    parked_max: int
    """Suspended workflows that are kept in memory, should they come back to this process."""
    step_threads: int


class Worker:
    """Runs every task that this process holds.

    Invariants: each held task is in `_running` and is heartbeaten; a parked run holds nothing.
    """

    def __init__(  # noqa: PLR0913 - finished collaborators, all by name
        self,
        *,
        store: Store,
        registry: Registry,
        codec: Codec,
        clock: Clock,
        settings: WorkerSettings,
        dependencies: Mapping[str | type, object],
        subscriptions: Subscriptions,
        logger: logging.Logger,
        step_policy: RetryPolicy,
        meter: Meter,
        observer: "Observer | None",
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.store = store
        self.registry = registry
        self.codec = codec
        self.clock = clock
        self.pid = settings.pid
        self.group = settings.group
        self.default_target = settings.default_target
        self.prefix = settings.prefix
        self.dependencies = dependencies
        self.logger = logger
        self.log = EventLog(logger)
        self.step_policy = step_policy
        self.meter = meter
        self.observer = observer
        self.leases = LeaseClock(
            clock, ttl_s=settings.ttl_ms / 1000, margin_s=settings.lease_margin_ms / 1000
        )
        self.canceller = Canceller(store=store, group=settings.group, pid=settings.pid)
        self.threads = StepThreads(self.loop, size=settings.step_threads, name="holdfast-step")
        self.slow = SlowSteps(self.loop, span_s=settings.slow_step_ms / 1000)
        self._subscriptions = subscriptions
        self._settings = settings
        self._running: dict[str, Execution] = {}
        self._parked: OrderedDict[str, Execution] = OrderedDict()
        self._unknown: OrderedDict[str, int] = OrderedDict()
        self._endings: set[asyncio.Task[None]] = set()
        self._beat: asyncio.TimerHandle | None = None
        self._stopping = False
        self._idle = asyncio.Event()

    # Taking tasks

    def take(self, push: TaskPush) -> None:
        """Run a task that the store acquired for this process."""
        self._accept(push, lease_until=self.leases.pushed_until(), credited=True)

    def begin(self, push: TaskPush, *, lease_until: float, fresh: bool) -> None:
        """Run a task that this process created, or acquired by itself."""
        self._accept(push, lease_until=lease_until, credited=False, fresh=fresh)

    def _accept(
        self, push: TaskPush, *, lease_until: float, credited: bool, fresh: bool = False
    ) -> None:
        task = push.task
        if self._stopping:
            release = TaskRelease(id=task.id, version=task.version)
            self._end_unrun(release, outcome="released", credited=credited)
            return
        # Taken out in any case: an entry that stayed would be overwritten when this run parks,
        # and its strands would never end.
        parked = self._parked.pop(task.id, None)
        if parked is not None:
            if not parked.ended and task.version == parked.version + 1:
                self._hold(parked)
                parked.resume(push, lease_until=lease_until, credited=credited)
                return
            parked.close()
        try:
            self.start(push, lease_until=lease_until, credited=credited, fresh=fresh)
        except Exception as defect:  # noqa: BLE001 - neither the lease nor the credit may be kept
            self.log.error("task_not_begun", error=defect, promise_id=task.id)  # noqa: TRY400 - our own log
            release = TaskRelease(
                id=task.id,
                version=task.version,
                not_before_ms=self.clock.now_ms() + UNKNOWN_DELAY_MS_MAX,
                reason=ReleaseReason.CRASHED,
            )
            self._end_unrun(release, outcome="released", credited=credited)

    def start(
        self, push: TaskPush, *, lease_until: float, credited: bool, fresh: bool = False
    ) -> None:
        """Run a task from the beginning of its body."""
        task = push.task
        older = self._running.get(task.id)
        if older is not None and not older.ended:
            # The store gave the task out again, so the older run's lease has ended unnoticed.
            older.lose(resent=False)
        try:
            call = read_call(self.codec, push.promise)
        except DecodeError as error:
            self.log.warning("task_halted", promise_id=task.id, reason=error.message)
            self._end_unrun(
                TaskHalt(id=task.id, version=task.version, reason=f"decode_error: {error}"),
                outcome="halted",
                credited=credited,
            )
            return
        function = self.registry.find(call.func, call.version)
        if function is None:
            self._release_unknown(push, call, credited=credited)
            return
        run = Execution(self, push, function, fresh=fresh, credited=credited)
        run.lease_until = lease_until
        self._hold(run)
        run.spawn(run_root(run, call))

    def _hold(self, run: Execution) -> None:
        self._running[run.id] = run
        self._idle.clear()
        if self._beat is None:
            self._arm()

    def _release_unknown(self, push: TaskPush, call: Call, *, credited: bool) -> None:
        task_id = push.task.id
        count = self._unknown.pop(task_id, 0)
        self._unknown[task_id] = count + 1
        if len(self._unknown) > UNKNOWN_REMEMBERED_MAX:
            self._unknown.popitem(last=False)
        delay_ms = min(UNKNOWN_DELAY_MS_MIN * 2 ** min(count, 16), UNKNOWN_DELAY_MS_MAX)
        self.log.warning(
            "function_unknown",
            promise_id=task_id,
            func=call.func,
            version=call.version,
            retry_in_ms=delay_ms,
        )
        self._end_unrun(
            TaskRelease(
                id=task_id,
                version=push.task.version,
                not_before_ms=self.clock.now_ms() + delay_ms,
                reason=ReleaseReason.UNKNOWN_FUNCTION,
            ),
            outcome="unknown_function",
            credited=credited,
        )

    def halt_suspended(self, task_id: str, reason: str) -> None:
        """Halt a task that this process suspended, and holds no lease of."""
        self._end_unrun(TaskHalt(id=task_id, reason=reason), outcome="halted", credited=False)

    def _end_unrun(
        self, end: TaskRelease | TaskHalt, *, outcome: TaskEnd, credited: bool = True
    ) -> None:
        self.meter.task_ended(func=OTHER, outcome=outcome)
        self._subscriptions.on_local_end(end.id)
        task = self.loop.create_task(self._send_end(end, credits=int(credited)))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _send_end(self, end: Request, *, credits: int) -> None:
        for attempt in range(ENDING_ATTEMPTS_MAX):
            try:
                answer = await self.store.submit([end], credits=credits if attempt == 0 else 0)
            except ResonateError as error:
                if not error.retriable:
                    break
                await asyncio.sleep(0.2 * 2**attempt)
                continue
            outcome = answer.outcomes[0]
            if not isinstance(outcome, Refusal) or outcome.status in (400, 404, 409, 422):
                return
            await asyncio.sleep(0.2 * 2**attempt)
        # The lease runs out by itself; nothing is lost but time.
        self.log.warning("task_not_given_back", request=type(end).__name__)

    # What becomes of runs

    def run_ended(self, run: Execution, promise: Promise | None, *, outcome: TaskEnd) -> None:
        """Learn that a run is over; with its promise if it settled it."""
        self._drop(run)
        self.meter.task_ended(func=counted_name(self.registry, run.function), outcome=outcome)
        if promise is None:
            self._subscriptions.on_local_end(run.id)
        else:
            self._subscriptions.on_settled(promise)

    def run_parked(self, run: Execution) -> None:
        """Learn that a run waits for the store to wake it."""
        self._drop(run)
        self.meter.task_ended(func=counted_name(self.registry, run.function), outcome="suspended")
        self._parked[run.id] = run
        if len(self._parked) > self._settings.parked_max:
            _, oldest = self._parked.popitem(last=False)
            oldest.close()
        self._subscriptions.on_local_end(run.id)

    def forget(self, run: Execution) -> None:
        """Keep a parked run no longer; when its task wakes it is replayed."""
        if self._parked.get(run.id) is run:
            del self._parked[run.id]

    def _drop(self, run: Execution) -> None:
        if self._running.get(run.id) is run:
            del self._running[run.id]
            if not self._running:
                self._idle.set()

    # Canceling

    async def cancel_beneath(self, promise: Promise) -> None:
        """Cancel what is attached to a canceled promise."""
        complete = await self.canceller.cancel_beneath(promise, now_ms=self.clock.now_ms())
        if not complete:
            self.log.warning("cancel_incomplete", promise_id=promise.id)

    def cancel_loser(self, run: Execution, child_id: str, *, ticket: int) -> None:
        """Once a run's write has canceled a child, cancel what is attached to that.

        If the process dies before, the child's own children go on until they end.
        """

        async def cancel() -> None:
            await run.writer.durable(ticket)
            record = run.cache[child_id]
            if record.state is PromiseState.REJECTED_CANCELED:
                await self.cancel_beneath(record)

        task = self.loop.create_task(cancel())
        self._endings.add(task)
        task.add_done_callback(self._cancel_ended)

    def _cancel_ended(self, task: "asyncio.Task[None]") -> None:
        self._endings.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log.warning("cancel_incomplete", reason=str(error))

    # Leases

    def _arm(self) -> None:
        interval = self._settings.ttl_ms / 1000 / HEARTBEATS_PER_TTL
        self._beat = self.loop.call_later(interval, self._heartbeat)

    def _heartbeat(self) -> None:
        self._beat = None
        runs = list(self._running.values())
        if not runs:
            return  # the next task that is held starts the beat again
        self._arm()  # first, so that nothing that goes wrong below can be the last beat
        for start in range(0, len(runs), HEARTBEAT_TASKS_MAX):
            self._extend(runs[start : start + HEARTBEAT_TASKS_MAX])

    def _extend(self, runs: Sequence[Execution]) -> None:
        sent_at = self.leases.now()
        versions = [run.version for run in runs]
        refs = tuple(TaskRef(id=run.id, version=run.version) for run in runs)

        def answered(future: "asyncio.Future[Answer]") -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                self._not_extended(runs, error)
                return
            if isinstance(future.result().outcomes[0], Refusal):
                return
            self.leases.acknowledge(sent_at)
            now = self.leases.now()
            until = sent_at + self.leases.ttl_s
            for run, version in zip(runs, versions, strict=True):
                # The store does not say which leases it extended. One that had not run out when
                # the answer was here had not when the store looked.
                if run.version == version and now < run.lease_until < until:
                    run.lease_until = until

        self.store.submit([TaskHeartbeat(pid=self.pid, tasks=refs)]).add_done_callback(answered)

    def _not_extended(self, runs: Sequence[Execution], error: BaseException) -> None:
        """Let go of runs if the store will never again take a write of theirs."""
        if isinstance(error, ResonateError) and error.retriable:
            return
        for run in runs:
            if not run.ended:
                run.abandon(error)

    # Stopping

    async def stop(self, grace_s: float) -> None:
        """Let bodies that run come to their end, up to a limit; give everything else back."""
        self._stopping = True
        for parked in self._parked.values():
            parked.close()
        closing = [s for parked in self._parked.values() for s in parked.strands()]
        self._parked.clear()
        for run in list(self._running.values()):
            run.request_stop()
        await self._wait_idle(grace_s)
        left = list(self._running.values())
        for run in left:
            closing += run.strands()
            run.release(ReleaseReason.SHUTDOWN)
        await self._wait_idle(RELEASE_S_MAX)
        for run in list(self._running.values()):
            run.close()
            self._drop(run)
        if self._beat is not None:
            self._beat.cancel()
        pending = {*closing, *self._endings}
        if pending:
            await asyncio.wait(pending, timeout=RELEASE_S_MAX)
        self.threads.close()

    async def _wait_idle(self, limit_s: float) -> None:
        if not self._running:
            return
        self._idle.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return

    def held_leases(self) -> frozenset[tuple[str, int]]:
        """List the leases of the runs in hand, as id and version."""
        return frozenset((run.id, run.version) for run in self._running.values())

    def holds(self, task_id: str) -> bool:
        """Whether a run of this task is under way here."""
        return task_id in self._running

    @property
    def held(self) -> int:
        """Tasks that this process holds now."""
        return len(self._running)
