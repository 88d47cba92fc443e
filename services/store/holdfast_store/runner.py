"""Carry one batch to its answers, whatever the database does meanwhile.

A transaction that lost against another one is repeated as a whole. One that the database refuses
for its data is taken apart until the culprit is alone, so that one bad operation never fails its
neighbours, and one bad row delays no other.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import random
from time import perf_counter
from typing import Final, Protocol, TypeVar

from holdfast.core.decide import ends_chain
from holdfast.core.membership import TaskPush
from holdfast.core.requests import SKIPPED, Outcome, Refusal
from holdfast_chassis.logs import get_logger
from holdfast_chassis.seldom import Seldom
from holdfast_store.batches import (
    Batch,
    Committed,
    Decided,
    Entry,
    preload_ids,
    projected,
    unavailable,
    with_preloads,
)
from holdfast_store.deciding import Decider
from holdfast_store.observer import Observer
from holdfast_store.storage import (
    BatchRejected,
    InsertConflict,
    NotCertain,
    Storage,
    StorageError,
    TransactionAborted,
)

log = get_logger(__name__)

T = TypeVar("T")


_CUT_SHORT: Final = Refusal(
    status=503,
    code="outcome_unknown",
    message="the store stopped before it could answer: the operation happened or did not",
)


class Made(Protocol):
    """Whoever makes batches, told how the part of one ended that no caller waits for."""

    def committed(self, batch: Batch, committed: Committed) -> None:
        """Learn that a batch stands; called before its answers go out."""

    def failed(self, batch: Batch) -> None:
        """Learn that a batch was not done; its background work is worth another try later."""

    async def refused(self, batch: Batch, error: Exception) -> None:
        """Learn that the database refuses background work that cannot be taken apart."""


class Runner:
    """Runs batches, one at a time.

    Invariant: each entry is answered exactly once, even if the run is cancelled.
    """

    def __init__(
        self,
        storage: Storage,
        decider: Decider,
        made: Made,
        *,
        clock: Callable[[], int],
        observer: Observer,
        statements: Callable[[], int],
        reached: Callable[[str], None],
        attempts_max: int,
        preload_bytes_max: int,
    ) -> None:
        self._storage = storage
        self._decider = decider
        self._made = made
        self._clock = clock
        self._observer = observer
        self._statements = statements
        self._reached = reached
        self._attempts_max = attempts_max
        self._preload_bytes_max = preload_bytes_max
        self._seldom = Seldom()

    async def run(self, batch: Batch) -> None:
        """Run a batch to its answers."""
        try:
            await self._execute(batch)
        except asyncio.CancelledError:
            self.refuse(batch.entries, _CUT_SHORT)
            raise
        except Exception:
            # Behind the commit there is only ours: what breaks there is a defect as well.
            log.exception("batch_untold", operations=len(batch.entries))
            self.refuse(batch.entries, _CUT_SHORT)

    async def _execute(self, batch: Batch) -> None:
        for attempt in range(self._attempts_max):
            try:
                committed = await self._transact(batch)
            except (InsertConflict, TransactionAborted) as error:
                self._observer.batch_failed(kind=type(error).__name__)
                if isinstance(error, NotCertain):
                    continue  # nobody is in the way: this store was wrong by itself, and looks now
                # Two stores that lost against each other must not meet again at the same instant.
                longest_s = 0.002 * 2**attempt
                await asyncio.sleep(longest_s * (0.5 + random() / 2))  # noqa: S311 - no secret
            except BatchRejected as error:
                self._observer.batch_failed(kind=type(error).__name__)
                await self._take_apart(batch, error)
                return
            except StorageError as error:
                self._observer.batch_failed(kind=type(error).__name__)
                self._warn(error)
                self._give_up(batch, unavailable(error))
                return
            except Exception as error:
                # A defect in a rule or an adapter must not end the engine: the callers learn
                # of it, and the invariant "exactly one answer" holds.
                self._observer.batch_failed(kind="Defect")
                log.exception("batch_broke", operations=len(batch.entries))
                await self._take_apart(batch, error)
                return
            else:
                self._tell(batch, committed)
                self._reached("answered")
                return
        message = "the database stayed contended"
        self._give_up(batch, Refusal(status=503, code="contention", message=message))

    # Failures

    def _warn(self, error: StorageError) -> None:
        """Tell of a database that fails every batch, but not once for each of them."""
        kind = type(error).__name__
        left_out = self._seldom.due(kind)
        if left_out is not None:
            log.warning("batch_failed", error=str(error), kind=kind, left_out=left_out)

    async def _take_apart(self, batch: Batch, error: Exception) -> None:
        """Repeat a refused batch in parts, until the culprit is alone with its error."""
        parts = batch.parts()
        if len(parts) > 1:
            for part in parts:
                await self._execute(part)
        elif not batch.entries:
            await self._made.refused(batch, error)
        elif isinstance(error, BatchRejected):
            log.error("operation_rejected", error=str(error))
            refusal = Refusal(status=500, code="rejected_by_database", message=str(error))
            self.refuse(batch.entries, refusal)
        else:
            refusal = Refusal(status=500, code="internal", message=str(error))
            self.refuse(batch.entries, refusal)

    def _give_up(self, batch: Batch, refusal: Refusal) -> None:
        self.refuse(batch.entries, refusal)
        self._made.failed(batch)

    def refuse(self, entries: Iterable[Entry], refusal: Refusal) -> None:
        """Answer those that have no answer yet."""
        for entry in entries:
            self._answer(entry, [refusal, *[SKIPPED] * (len(entry.chain) - 1)])

    # The transaction

    async def _transact(self, batch: Batch) -> Committed:
        started, statements = perf_counter(), self._statements()
        decided: Decided | None = None
        committed = False
        try:
            async with self._storage.transaction() as transaction:
                now_ms = self._clock() if batch.at_ms is None else batch.at_ms
                loaded = await transaction.load(self._decider.plan(batch), now_ms=now_ms)
                self._reached("loaded")
                decided = self._decider.decide(batch, loaded)
                changes = loaded.working_set.changes()
                changes.unblocks = self._decider.unreachable(loaded.working_set, decided)
                self._reached("decided")
                preloads = await transaction.commit(
                    changes,
                    preload_of=preload_ids(decided),
                    preload_bytes_max=self._preload_bytes_max,
                )
            committed = True
            self._reached("committed")
        finally:
            if decided is not None and not committed:
                self._decider.undo(decided)
        operations = sum(len(entry.chain) for entry in batch.entries)
        self._observer.batch_committed(
            operations=operations,
            statements=self._statements() - statements,
            seconds=perf_counter() - started,
        )
        return Committed(loaded=loaded, decided=decided, changes=changes, preloads=preloads)

    # Answers

    def _tell(self, batch: Batch, committed: Committed) -> None:
        """Answer and push; nothing that a receiver does can undo the commit or be retried."""
        loaded, decided = committed.loaded, committed.decided
        now_ms = loaded.now_ms
        preloads = {task_id: projected(p, now_ms) for task_id, p in committed.preloads.items()}
        self._made.committed(batch, committed)
        for entry, outcomes in zip(batch.entries, decided.outcomes, strict=True):
            self._answer(entry, with_preloads(outcomes, preloads))
        for seat, task in decided.pushes:
            promise = loaded.working_set.promise(task.id)
            assert promise is not None
            push = TaskPush(task=task, promise=promise, preload=preloads[task.id])
            call(seat.inbox.push_task, push)
            self._observer.message_claimed(kind="execute")
        for seat, offer in decided.offers:
            call(seat.inbox.push_offer, offer)
            self._observer.message_claimed(kind="execute")
        for seat, promise in decided.settled:
            call(seat.inbox.push_settled, promise)
            self._observer.message_claimed(kind="unblock")
            self._observer.delivered(status="success")
        for relay, address, promise in decided.unblocks:
            call(partial(relay.push_unblock, address), promise)
            self._observer.message_claimed(kind="unblock")  # whoever sends it on says how it went
        for kind, count in decided.step_counts.items():
            if count:
                self._observer.steps_ran(kind=kind, count=count)
        if decided.lateness_ms:
            self._observer.timers_swept(decided.lateness_ms)
        if decided.fired_late_ms:
            self._observer.schedules_fired(decided.fired_late_ms)

    def _answer(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        if entry.is_answered:
            return
        entry.is_answered = True
        everything = outcomes
        if entry.tail:
            refused = any(map(ends_chain, entry.chain, outcomes))
            everything = [*outcomes, *([SKIPPED] * len(entry.tail) if refused else entry.tail)]
        for request, outcome in zip(entry.chain, outcomes, strict=False):
            self._observer.operation_answered(kind=type(request).__name__, status=outcome.status)
        call(entry.answer, everything)


def call(receiver: Callable[[T], None], message: T) -> None:
    """Call a receiver; a defect of its own must not cost others their answers."""
    try:
        receiver(message)
    except Exception:
        log.exception("receiver_broke")
