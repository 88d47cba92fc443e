"""One run of one function under one lease: its children, what it waits for, and how it ends.

A run is a set of strands, each an asyncio task: the body, and whatever it began beside itself. When
every strand waits and nothing here can wake one, the run suspends its task. The strands stay as
they are: if the store redirects (a promise was settled meanwhile), or if this process gets the
task back at the next version, they simply go on. Correctness does not depend on that: any other
process replays the body from the recorded promises.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from holdfast.codec import Codec
from holdfast.commands import DurableFuture
from holdfast.core.limits import CHAIN_OPERATIONS_MAX
from holdfast.core.membership import TaskPush
from holdfast.core.records import (
    Preload,
    Promise,
    PromiseState,
    ReleaseReason,
    WaitMode,
)
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    Refusal,
    Request,
    TaskFulfill,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from holdfast.errors import (
    DecodeError,
    EncodeError,
    InvalidRequest,
    NonDurableAwait,
    PreconditionFailed,
    ResonateError,
    ServerUnavailable,
)
from holdfast.lineage import Lineage
from holdfast.logs import EventLog
from holdfast.meter import TaskEnd
from holdfast.port import Answer, Store
from holdfast.registry import Function, Registry
from holdfast.runtime import fenced
from holdfast.runtime.waits import Aside, Ended, Wait, ending_error, fail, wake
from holdfast.runtime.writer import RETRY_S_MAX, RETRY_S_MIN, Role, Write, Writer

if TYPE_CHECKING:
    from holdfast.runtime.worker import Worker
    from holdfast.testing.crash_points import Observer

OPTIMISM_MARGIN_MS = 2_000
"""A step's value is passed on before it is durable only this far from the step's deadline: there,
the store might decide that the step timed out instead."""

GETS_PER_CHAIN = CHAIN_OPERATIONS_MAX

ANSWER_TOO_LARGE = "answer_too_large"
"""A remote store's refusal of a chain whose answer does not fit one message."""


class Execution:
    """A task in this process's hands, from acquire to fulfil, over suspends that came back here.

    Invariants: writes carry the id and the version of the lease; once `ended` is set nothing is
    written and no body starts; `active` counts strands that can go on by themselves.
    """

    __slots__ = (
        "_credited",
        "_final",
        "_look_pause_s",
        "_promise",
        "_strands",
        "_task",
        "_vouched",
        "active",
        "args",
        "bodies",
        "cache",
        "codec",
        "complete",
        "deadline_ms",
        "dependencies",
        "ended",
        "explicit",
        "function",
        "id",
        "is_replaying",
        "kwargs",
        "lease_until",
        "leases",
        "lineage",
        "logger",
        "loop",
        "observer",
        "panicked",
        "parked",
        "registry",
        "stop_requested",
        "store",
        "tags",
        "version",
        "waits",
        "worker",
        "writer",
    )

    def __init__(
        self, worker: "Worker", push: TaskPush, function: Function, *, fresh: bool, credited: bool
    ) -> None:
        self.worker = worker
        self.loop = worker.loop
        self.store: Store = worker.store
        self.codec: Codec = worker.codec
        self.registry: Registry = worker.registry
        self.dependencies = worker.dependencies
        self.logger: logging.Logger = worker.logger
        self.leases = worker.leases
        self.observer: Observer | None = worker.observer
        self._task = push.task
        self._promise = promise = push.promise
        self.id = promise.id
        self.version = push.task.version
        self.lineage = Lineage.of(promise)
        self.deadline_ms = promise.timeout_at_ms
        self.tags = promise.tags
        self.function = function
        self.args: tuple[object, ...] = ()
        self.kwargs: dict[str, object] = {}
        self.cache: dict[str, Promise] = {p.id: p for p in push.preload.promises}
        self.complete = fresh or push.preload.complete
        self.explicit: dict[str, DurableFuture[Any]] = {}
        self.is_replaying = not fresh and (bool(self.cache) or not self.complete)
        self.lease_until = 0.0
        self._vouched: int | None = None
        self.vouch()
        self.panicked: ResonateError | None = None
        self.ended = False
        self.parked = False
        self.stop_requested = False
        self.active = 0
        self.bodies = 0
        self.waits: set[Wait] = set()
        self.writer = Writer(self)
        self._credited = credited
        self._final: Request | None = None
        self._look_pause_s = 0.0
        self._strands: set[asyncio.Task[None]] = set()

    # Strands

    def spawn(self, body: Coroutine[Any, Any, None]) -> None:
        """Run something beside what runs already."""
        self.active += 1
        strand = self.loop.create_task(self._strand(body))
        self._strands.add(strand)
        strand.add_done_callback(self._strands.discard)

    async def _strand(self, body: Coroutine[Any, Any, None]) -> None:
        try:
            await body
        except Ended:
            pass
        except asyncio.CancelledError:
            if not self.ended and self._final is None:
                raise
        except Exception as defect:  # noqa: BLE001 - a defect here must not keep a lease for ever
            self.abandon(defect)
        finally:
            self.active -= 1
        if self.active == 0:
            self.writer.flush()

    async def wait(
        self,
        futures: Sequence[DurableFuture[Any]],
        *,
        first: bool = False,
        aside: Aside | None = None,
    ) -> None:
        """Return when all of these children are done, or the first one; may outlive the lease.

        Called by a strand, or with `aside` by another task that the strand's body has started.
        """
        pending = [f for f in futures if f.state is None]
        if not pending or (first and len(pending) < len(futures)):
            return
        wait = Wait(self, pending, first=first, aside=aside)
        for future in pending:
            if future.waits is None:
                future.waits = [wait]
            else:
                future.waits.append(wait)
        self.waits.add(wait)
        if aside is None:
            self.active -= 1
        # With nobody active this suspends the task, in one chain with what is queued.
        self.writer.flush()
        try:
            await wait.gate
        except asyncio.CancelledError:
            if not self.ending and wait.left > 0:
                self._cancelled(wait, aside=aside)
            raise

    def _cancelled(self, wait: Wait, *, aside: Aside | None) -> None:
        """Deal with user code that cancelled a wait; only a task beside a body may be cancelled."""
        wait.left = 0
        wait.end()
        if self.is_suspended:
            self.halt_suspended(self.panic_of_cancel())
            raise Ended
        if aside is None:
            raise self.panic_of_cancel() from None

    def panic_of_cancel(self) -> ResonateError:
        """Make the error of a durable wait that the body itself cancelled."""
        self.panicked = NonDurableAwait(
            f"a wait in {self.function.name} ({self.id}) was cancelled from inside, as by "
            "asyncio.timeout: nothing records when. Use ctx.race() with ctx.sleep()"
        )
        return self.panicked

    @property
    def ending(self) -> bool:
        """Whether the run's last write is decided."""
        return self.ended or self._final is not None

    @property
    def _log(self) -> EventLog:
        return self.worker.log

    # Children

    def lease_is_safe(self) -> bool:
        """Whether a body may start that no write has announced."""
        return self._vouched == self.leases.breaks and self.leases.is_safe(self.lease_until)

    def vouch(self) -> None:
        """Learn that the store has just found, on this stream, that the lease is ours."""
        if self.leases.online:
            self._vouched = self.leases.breaks

    def queue_create(self, child: DurableFuture[Any]) -> int:
        """Queue the write that makes a child visible; answer its ticket."""
        assert child.create is not None
        request = fenced.create(self.id, self.version, child.create)
        child.sent = self.writer.add(request, child, Role.CREATE)
        return child.sent

    def queue_settle(
        self, child: DurableFuture[Any], state: PromiseState, data: bytes | None
    ) -> int:
        """Queue the write that records a child's outcome, and makes it if no other has."""
        child.sent_data = data
        if not child.sent and not child.known:
            assert child.create is not None
            request = fenced.record(self.id, self.version, child.create, state=state, data=data)
            child.sent = self.writer.add(request, child, Role.RECORD)
            return child.sent
        request = fenced.settle(self.id, self.version, child.id, state=state, data=data)
        return self.writer.add(request, child, Role.SETTLE)

    def complete_child(
        self, child: DurableFuture[Any], state: PromiseState, data: bytes | None, ticket: int
    ) -> None:
        """Give a child its outcome and wake whoever waits; `ticket` 0 if the store has it."""
        if state is PromiseState.RESOLVED:
            try:
                value = self.codec.decode(data)
                convert = None if child.function is None else child.function.result
                child.value = value if convert is None or value is None else convert(value)
            except DecodeError as error:
                child.error = error
        elif state is PromiseState.REJECTED:
            child.error = self.codec.decode_error(data)
        else:
            child.error = ending_error(child.id, state)
        child.state = state
        child.ticket = ticket
        child.running = False
        wake(child)

    def learn(self, promises: Iterable[Promise]) -> None:
        """Take in records of children as the store has them."""
        for promise in promises:
            self.cache[promise.id] = promise
        for wait in list(self.waits):
            for future in wait.futures:
                record = self.cache.get(future.id)
                if future.state is None and record is not None:
                    self.learn_of(future, record)

    def learn_of(self, child: DurableFuture[Any], record: Promise) -> None:
        """Take in the record of a child."""
        child.known = True
        if record.state is not PromiseState.PENDING and child.state is None and not child.running:
            self.complete_child(child, record.state, record.value.data, 0)

    # Answers

    def on_written(self, write: Write, done: Done) -> None:
        """Learn that a write is durable."""
        child = write.child
        record = done.promise
        assert record is not None
        self.cache[record.id] = record
        child.known = True
        self.vouch()
        if done.created:
            self.is_replaying = False
        if write.role is Role.CREATE:
            if (
                not done.created
                and record.state is not PromiseState.PENDING
                and child.state is None
            ):
                self.complete_child(child, record.state, record.value.data, 0)
        elif child.state is None:
            self.complete_child(child, record.state, record.value.data, 0)
        elif child.ticket and (
            record.state is not child.state or record.value.data != child.sent_data
        ):
            # Somebody else settled the promise first, and the body has gone on with our value:
            # start again from what the store has.
            self._log.warning("step_settled_elsewhere", step_id=child.id, promise_id=self.id)
            self._restart()

    def on_refused(self, write: Write, refusal: Refusal) -> None:
        """Learn that a write can never succeed: its child fails, or the run halts."""
        child = write.child
        if child.state is not None:
            # The body has used the value: it must not go on as if it were recorded.
            self.halt(f"{child.id} cannot be recorded: {refusal.message}")
            return
        fail(child, InvalidRequest(refusal.message, code=refusal.code))

    def on_end(self, end: Request, outcome: Outcome, *, resent: bool) -> None:
        """Learn how the last operation of a chain, which is about the task itself, went."""
        if isinstance(outcome, Refusal):
            self._on_end_refused(end, outcome, resent=resent)
        elif isinstance(end, TaskSuspend):
            assert isinstance(outcome, Done)
            self._on_suspended(outcome)
        else:
            assert isinstance(outcome, Done)
            self._close()
            self.worker.run_ended(self, outcome.promise, outcome=_end_of(end))

    def _on_end_refused(self, end: Request, refusal: Refusal, *, resent: bool) -> None:
        if refusal.status in (404, 409):
            self.on_gone(end, resent=resent)
        elif isinstance(end, TaskFulfill) and end.action.state is PromiseState.RESOLVED:
            error = EncodeError(refusal.message, code=refusal.code)
            self.fulfill(PromiseState.REJECTED, self.codec.encode_error(error))
        elif isinstance(end, TaskSuspend) and len(end.actions) == 1:
            unawaitable = PreconditionFailed(refusal.message, code=refusal.code)
            for future in self._awaited():
                fail(future, unawaitable)
        elif isinstance(end, TaskHalt):
            self.give_up(refusal)
        else:
            self.halt(refusal.message)

    def on_gone(self, end: Request | None, *, resent: bool) -> None:
        """Learn that the task is not ours any more; `end` is what the chain was to end with.

        After a resend that may be our own doing: the first sending may have fulfilled the task,
        and only its answer was lost. What counts then is the promise.
        """
        if not resent or not isinstance(end, TaskFulfill):
            self.lose(resent=resent)
            return
        self._close()
        read = self.store.submit([PromiseGet(id=self.id)])
        read.add_done_callback(partial(self._learn_end, end))

    def _learn_end(self, end: TaskFulfill, read: "asyncio.Future[Answer]") -> None:
        """Take in how the promise stands after a fulfil whose answer was lost."""
        promise = None
        if not read.cancelled() and read.exception() is None:
            outcome = read.result().outcomes[0]
            promise = outcome.promise if isinstance(outcome, Done) else None
        if promise is None or promise.state is PromiseState.PENDING:
            self._log.info("lease_lost", promise_id=self.id, version=self.version)
            self.worker.run_ended(self, None, outcome="lost")
            return
        written = end.action
        is_ours = promise.state is written.state and promise.value.data == written.value.data
        self.worker.run_ended(self, promise, outcome=_end_of(end) if is_ours else "lost")

    def _on_suspended(self, outcome: Done) -> None:
        if outcome.status != 300:  # noqa: PLR2004 - the status of a redirect
            self.parked = True
            self.worker.run_parked(self)
            return
        self._go_on(outcome.preload)

    def _go_on(self, preload: Preload | None) -> None:
        """Continue with new records; read what is waited for if they woke nobody."""
        if preload is not None:
            self.learn(preload.promises)
        if self.active == 0:
            self._look()

    def _look(self) -> None:
        """Read the promises that are waited for.

        The preload may have been cut, lacks adopted promises of other trees, and an obligation
        left over from an earlier wait may have woken us for nothing.
        """
        self.active += 1  # nothing may suspend until the answers are here
        self._get(self._awaited(), GETS_PER_CHAIN)

    def _get(self, wanted: Sequence[DurableFuture[Any]], count: int) -> None:
        chain = [PromiseGet(id=f.id) for f in wanted[:count]]
        looked = partial(self._looked, wanted, len(chain))
        self.store.submit(chain).add_done_callback(looked)

    def _looked(
        self,
        wanted: Sequence[DurableFuture[Any]],
        count: int,
        future: "asyncio.Future[Answer]",
    ) -> None:
        if self.ending or future.cancelled():
            return
        error = future.exception()
        if error is not None and not isinstance(error, ServerUnavailable):
            self.abandon(error)
            return
        try:
            self._learn_answer(wanted, count, [] if error else future.result().outcomes)
        except Exception as defect:  # noqa: BLE001 - whatever it is, the lease must not be kept
            self.abandon(defect)

    def _learn_answer(
        self, wanted: Sequence[DurableFuture[Any]], count: int, outcomes: Sequence[Outcome]
    ) -> None:
        """Take in what `count` gets brought; read on while nobody goes on and all are settled.

        Who waits for one of many goes on with the first that is; who waits for all of them has
        use for what is behind it, up to one that is still open.
        """
        found = [o.promise for o in outcomes if isinstance(o, Done) and o.promise is not None]
        self.learn(found)
        if any(f.state is not None for f in wanted):
            self._look_pause_s = 0.0
            is_open = any(p.state is PromiseState.PENDING for p in found)
            if self.active > 1 or is_open or len(found) == len(wanted):
                self._end_look()
                return
        # A chain ends at its first refusal; what is behind it is still unread.
        refusal = next((o for o in outcomes if isinstance(o, Refusal)), None)
        if refusal is not None and refusal.code == ANSWER_TOO_LARGE and count > 1:
            self._get(wanted, count // 2)
            return
        is_down = not outcomes or (
            refusal is not None
            and refusal.status in (429, 500, 503)
            and refusal.code != ANSWER_TOO_LARGE
        )
        rest = wanted[len(found) + (refusal is not None) :]
        if rest and not is_down:
            self._get(rest, count)
            return
        # Nothing learned: a suspend may be redirected at once again, so not at full speed.
        self._look_pause_s = min(max(self._look_pause_s * 2, RETRY_S_MIN), RETRY_S_MAX)
        self.loop.call_later(self._look_pause_s, self._end_look)

    def _end_look(self) -> None:
        if self.ending:
            return
        self.active -= 1
        try:
            if self.active == 0:
                self.writer.flush()
        except Exception as defect:  # noqa: BLE001 - whatever it is, the lease must not be kept
            self.abandon(defect)

    # Parking

    def end_request(self) -> Request | None:
        """Answer what the next chain ends with: the run's end, a suspend, or nothing."""
        if self._final is not None:
            return self._final
        if self.active or not self.waits or self.parked:
            return None
        awaited = self._awaited()
        assert awaited, f"{self.id} waits for nothing that could wake it"
        # A body at its end waits for all that is left at once; any other wait goes on with one.
        joins = len(awaited) > 1 and len(self.waits) == 1 and not any(w.first for w in self.waits)
        mode = WaitMode.ALL_SETTLED if joins else WaitMode.ANY
        ids = [f.id for f in awaited]
        most = fenced.nameable(self.id, ids, mode)
        if len(ids) > most and mode is WaitMode.ANY:
            return self._halted(
                f"it waits for any of {len(ids)} promises, and a suspend has room for {most} of "
                "these: wait for all of them by one ctx.all, or for fewer at a time"
            )
        # Of all those that do not fit, the rest is waited for when the first ones are settled.
        return fenced.suspend(self.id, self.version, ids[:most], mode=mode)

    def _awaited(self) -> list[DurableFuture[Any]]:
        """Remote children that strands wait for, each once."""
        awaited = {
            future.id: future
            for wait in self.waits
            for future in wait.futures
            if future.state is None and not future.local
        }
        return list(awaited.values())

    def resume(self, push: TaskPush, *, lease_until: float, credited: bool) -> None:
        """Go on where the run was parked: the task came back at the next version."""
        self.parked = False
        self.version = push.task.version
        self.lease_until = lease_until
        self.vouch()
        self._credited = credited
        self.complete = self.complete or push.preload.complete
        self._look_pause_s = 0.0
        try:
            self._go_on(push.preload)
        except Exception as defect:  # noqa: BLE001 - whatever it is, the lease must not be kept
            self.abandon(defect)

    def take_credit(self) -> int:
        """Answer, once, the credit to give back with the chain that ends the pass."""
        credited, self._credited = self._credited, False
        return int(credited)

    # Ends

    def fulfill(self, state: PromiseState, data: bytes | None) -> None:
        """End the run with its outcome; the strand that calls returns."""
        self._finish(fenced.fulfill(self.id, self.version, state=state, data=data))

    def halt(self, reason: str) -> None:
        """End the run for a person to look at."""
        self._halted(reason)
        self.writer.flush()

    def _halted(self, reason: str) -> Request:
        self._log.error("task_halted", promise_id=self.id, func=self.function.name, reason=reason)
        return self._end_with(fenced.halt(self.id, self.version, reason))

    def release(
        self, reason: ReleaseReason | None = None, *, not_before_ms: int | None = None
    ) -> None:
        """End the run by giving the task back; another pass replays what was recorded."""
        if not self.ending:
            self._finish(
                TaskRelease(
                    id=self.id, version=self.version, reason=reason, not_before_ms=not_before_ms
                )
            )

    def _restart(self) -> None:
        """Begin the body again with what is recorded: the store has carried out nothing else."""
        credited, self._credited = self._credited, False
        self._close()
        known = Preload(promises=tuple(self.cache.values()), complete=self.complete)
        task = replace(self._task, version=self.version)
        push = TaskPush(task=task, promise=self._promise, preload=known)
        self.worker.start(push, lease_until=self.lease_until, credited=credited)

    def _finish(self, end: Request) -> None:
        self._end_with(end)
        self.writer.flush()

    def _end_with(self, end: Request) -> Request:
        self._final = end
        self._cancel_strands()
        return end

    def lose(self, *, resent: bool) -> None:
        """Stop at once: the lease is somebody else's, or the promise is settled."""
        if not resent:
            self._log.info("lease_lost", promise_id=self.id, version=self.version)
        self._drop("lost")

    def abandon(self, error: BaseException) -> None:
        """Stop at once: the store does not accept us, or we are broken; the lease runs out."""
        self._log.error("run_abandoned", error=error, promise_id=self.id)
        self._drop("abandoned")

    def give_up(self, refusal: Refusal) -> None:
        """Stop at once: the store refuses what must succeed; the lease runs out."""
        self._log.error(
            "run_given_up", promise_id=self.id, code=refusal.code, message=refusal.message
        )
        self._drop("abandoned")

    def _drop(self, outcome: TaskEnd) -> None:
        if not self.ended:
            self._close()
            self.worker.run_ended(self, None, outcome=outcome)

    @property
    def is_suspended(self) -> bool:
        """Whether the task is suspended, or may be."""
        return self.parked or self.writer.is_suspending

    def halt_suspended(self, error: ResonateError) -> None:
        """Halt a run whose body goes on by itself although its task is, or may be, suspended."""
        reason = f"{type(error).__name__}: {error}"
        self._log.error("task_halted", promise_id=self.id, func=self.function.name, reason=reason)
        if self.parked:
            self.worker.forget(self)
            self._close()
        else:
            self._drop("halted")
        self.worker.halt_suspended(self.id, reason)

    def close(self) -> None:
        """Forget the run without a word to the store: it is parked, or the process ends."""
        self._close()

    def _close(self) -> None:
        self.ended = True
        self.writer.close()
        self._cancel_strands()
        for wait in self.waits:
            wait.gate.cancel()  # tasks that a body has started are no strands
        if self._credited:
            self.store.give_back(self.take_credit())

    def _cancel_strands(self) -> None:
        current = asyncio.current_task(self.loop)
        for strand in self._strands:
            if strand is not current:
                strand.cancel()

    def strands(self) -> Sequence["asyncio.Task[None]"]:
        """List what still runs, for whoever waits for the end."""
        return list(self._strands)

    # Stopping

    def request_stop(self) -> None:
        """Give the task back at the next checkpoint: before another body starts."""
        self.stop_requested = True
        if self.bodies == 0 and self.active and not self.ending:
            self.release(ReleaseReason.SHUTDOWN)

    # Observation

    def observe(self, point: str, step_id: str) -> None:
        """Tell a test that a point is reached."""
        if self.observer is not None:
            self.observer.reached(point, self.id, step_id)

    def observe_writes(self, when: str, chunk: Sequence[Write], end: Request | None) -> None:
        """Tell a test which writes are about to be sent, or durable."""
        assert self.observer is not None
        for step_id in dict.fromkeys(w.child.id for w in chunk):
            self.observer.reached(f"{when}_write", self.id, step_id)
        if isinstance(end, TaskFulfill):
            self.observer.reached(f"{when}_fulfill", self.id, self.id)
        elif isinstance(end, TaskSuspend):
            self.observer.reached(f"{when}_suspend", self.id, self.id)

    def rejoin(self, child: DurableFuture[Any]) -> PromiseCreate:
        """Answer the create request of a child, made up for one found in the records."""
        if child.create is None:
            record = self.cache[child.id]
            child.create = PromiseCreate(
                id=child.id,
                timeout_at_ms=record.timeout_at_ms,
                param=record.param,
                tags=record.tags,
            )
        return child.create


def _end_of(end: Request) -> TaskEnd:
    """Name, for whoever counts, what a run ended with."""
    if isinstance(end, TaskFulfill):
        return "resolved" if end.action.state is PromiseState.RESOLVED else "rejected"
    return "halted" if isinstance(end, TaskHalt) else "released"
