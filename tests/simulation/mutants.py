"""Stores that are broken on purpose, each in one way: the simulation must find every one.

What would be broken by accident is rarely a rule of the core, so most of them are broken around
it: in what wakes whom, what is given back, and in which order things happen.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from unittest import mock

from holdfast.core import promise, steps, task
from holdfast_store.backlog import Backlog
from holdfast_store.batches import Batch, Decided
from holdfast_store.clock import Clock
from holdfast_store.db.sqlite.newest import Newest
from holdfast_store.db.sqlite.writer import Writer
from holdfast_store.engine import Engine
from holdfast_store.loops.schedules import ScheduleTimer
from holdfast_store.loops.timers import Timers
from holdfast_store.runner import Runner

_transact: Final = Runner._transact
_nothing: Final = lambda *_, **__: None  # noqa: E731 - what many of them do
_none: Final = lambda *_, **__: 0  # noqa: E731 - the same, where somebody counts


async def _answer_first(self: Runner, batch: Batch) -> Any:
    """Answer what was decided, and commit afterwards."""
    async with self._storage.transaction() as transaction:
        loaded = await transaction.load(self._decider.plan(batch), now_ms=self._clock())
        decided: Decided = self._decider.decide(batch, loaded)
        self._decider.undo(decided)
    for entry, outcomes in zip(batch.entries, decided.outcomes, strict=True):
        if all(getattr(each, "preload_of", None) is None for each in outcomes):
            self._answer(entry, outcomes)
    return await _transact(self, batch)


async def _no_instant(_self: Timers) -> None:
    """Hear of what becomes due while the process lives, and never read what was due before."""
    _self._stale = False


async def _fire_once(self: ScheduleTimer) -> None:
    """Fire what is due, and do not look for what is due next."""
    await self._engine.firing.fire_some()
    self._next_ms, self._read_at = None, float("inf")
    self._last_read = float("inf")


def _commit_instead(self: Writer, _error: BaseException | None) -> None:
    """End what is open, the one way or the other."""
    if self._connection is not None and self._connection.in_transaction:
        self._connection.execute("COMMIT")


MUTANTS: Final[Mapping[str, Callable[[], contextlib.AbstractContextManager[object]]]] = {
    "a settlement wakes nobody": lambda: mock.patch.object(promise, "_wake", _nothing),
    "an answer leaves before the commit": lambda: mock.patch.object(
        Runner, "_transact", _answer_first
    ),
    "leases that ran out are not returned": lambda: mock.patch.object(
        steps, "expire_leases", _none
    ),
    "credits that come back give out nothing": lambda: mock.patch.object(
        Backlog, "credits_returned", _nothing
    ),
    "deadlines of an earlier life are forgotten": lambda: mock.patch.object(
        Timers, "_read_next_due", _no_instant
    ),
    "a late writer is let through": lambda: mock.patch.object(task, "_refusal_of_lease", _nothing),
    "what is due is never swept for": lambda: mock.patch.object(Engine, "sweep", _nothing),
    "a schedule fires once and never again": lambda: mock.patch.object(
        ScheduleTimer, "_fire", _fire_once
    ),
    "what a failed batch has written is kept": lambda: mock.patch.object(
        Writer, "_recover", _commit_instead
    ),
    "a store that starts knows no past": lambda: mock.patch.object(Clock, "begin_at", _nothing),
    "the newest instant is written down once": lambda: mock.patch.object(
        Newest, "raised", lambda self, *_, **__: self.bound_ms
    ),
    "listeners are told of nothing": lambda: mock.patch.object(
        promise, "discharge", _discharge_callbacks_alone
    ),
}
"""Name and patch of each."""


def _discharge_callbacks_alone(ws: Any, settled: Any, *, now_ms: int) -> None:
    ws.take_listeners(settled.id)
    for callback in ws.take_callbacks(settled.id):
        promise._wake(ws, callback, settled, now_ms=now_ms)


@contextlib.contextmanager
def broken_by(name: str) -> Iterator[None]:
    """Have every store broken in one way in this block."""
    with MUTANTS[name]():
        yield
