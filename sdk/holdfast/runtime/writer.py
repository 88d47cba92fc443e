"""The writes of one run, in order, at most one chain under way.

What is asked for while a chain is under way goes out together in the next one, so that a fan-out
costs one transaction and a settlement travels with whatever follows it. The store guards every
write with the lease; a refusal by that guard ends the run.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from holdfast.commands import DurableFuture
from holdfast.core.limits import CHAIN_OPERATIONS_MAX
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Refusal,
    Request,
    Skipped,
    TaskFence,
    TaskSuspend,
)
from holdfast.errors import ServerUnavailable
from holdfast.port import Answer
from holdfast.runtime.fenced import SURELY_NAMEABLE

if TYPE_CHECKING:
    from holdfast.runtime.execution import Execution

CHAIN_BYTES_MAX = 2_097_152
"""Half of what one message may hold; a chain shares its message with others."""

RETRY_S_MIN = 0.2
RETRY_S_MAX = 5.0

SERVER_ERRORS_MAX = 5
"""Answers with status 500 in a row after which the run is given to another process."""

_TASK_GONE = frozenset({404, 409})
_TRY_AGAIN = frozenset({429, 500, 503})


class Role(Enum):
    """What a write does to its child."""

    CREATE = auto()
    SETTLE = auto()
    RECORD = auto()
    """Both at once."""


class Write:
    """One fenced operation. `void` ones keep their place in the count but are not sent."""

    __slots__ = ("child", "request", "role", "void")

    def __init__(self, request: TaskFence, child: "DurableFuture[object]", role: Role) -> None:
        self.request = request
        self.child = child
        self.role = role
        self.void = False


def _bytes_of(action: PromiseCreate | PromiseSettle | PromiseRecord) -> int:
    match action:
        case PromiseRecord():
            return _bytes_of(action.create) + len(action.value.data or b"")
        case PromiseSettle():
            return len(action.value.data or b"")
        case PromiseCreate():
            return len(action.param.data or b"") + _bytes_of_tags(action.tags)


def _bytes_of_tags(tags: Mapping[str, str]) -> int:
    """Count tags, with as many bytes for each character as there may be."""
    joined = "".join((*tags, *tags.values()))
    return len(joined) if joined.isascii() else 4 * len(joined)


class Writer:
    """Counts writes from 1 on; `acked` is the ticket up to which all are answered."""

    __slots__ = (
        "_gates",
        "_pause_s",
        "_paused",
        "_queue",
        "_resent",
        "_run",
        "_sent",
        "_sent_at",
        "_sent_end",
        "_server_errors",
        "_soon",
        "acked",
        "queued",
    )

    def __init__(self, run: "Execution") -> None:
        self._run = run
        self._queue: deque[Write] = deque()
        self.queued = 0
        self.acked = 0
        self._sent: list[Write] | None = None
        self._sent_end: Request | None = None
        self._sent_at = 0.0
        self._gates: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._soon = False
        self._resent = False
        self._paused: asyncio.TimerHandle | None = None
        self._pause_s = 0.0
        self._server_errors = 0

    @property
    def has_unsent(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._queue)

    def add(self, request: TaskFence, child: "DurableFuture[object]", role: Role) -> int:
        """Queue a write; answer its ticket."""
        self._queue.append(Write(request, child, role))
        self.queued += 1
        return self.queued

    async def durable(self, ticket: int) -> None:
        """Return when every write up to a ticket is answered; sends what is queued."""
        if self.acked >= ticket:
            return
        self.flush()
        gate: asyncio.Future[None] = self._run.loop.create_future()
        self._gates.append((ticket, gate))
        await gate

    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop, together with what else it brings."""
        if not self._soon:
            self._soon = True
            self._run.loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._soon = False
        self.flush_now()

    def flush_now(self) -> None:
        """Send from a callback of the loop, where nobody would see an exception."""
        self._guarded(self.flush)

    @property
    def is_suspending(self) -> bool:
        """Whether a suspend is under way that nobody knows the answer to."""
        return isinstance(self._sent_end, TaskSuspend)

    def flush(self) -> None:
        """Send what is queued, unless a chain is under way: then its answer will.

        The run may end the chain: with its result, or, when nothing can go on, with a suspend.
        """
        if self._sent is not None or self._paused is not None or self._run.ended:
            return
        chunk = self._take()
        end: Request | None = None
        if not self._queue and len(chunk) < CHAIN_OPERATIONS_MAX:
            end = self._run.end_request()
        if chunk and isinstance(end, TaskSuspend) and len(end.actions) > SURELY_NAMEABLE:
            end = None  # it may fill a message by itself, and follows the answer
        if chunk or end is not None:
            self._send(chunk, end)

    def close(self) -> None:
        """Forget everything; answers that still come are ignored."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        self._queue.clear()
        for _, gate in self._gates:
            gate.cancel()
        self._gates.clear()

    def _take(self) -> list[Write]:
        queue = self._queue
        chunk: list[Write] = []
        size = 0
        while queue and len(chunk) < CHAIN_OPERATIONS_MAX:
            if len(queue) > 1 or chunk:  # one alone is sent whatever its size
                size += _bytes_of(queue[0].request.action)
                if chunk and size > CHAIN_BYTES_MAX:
                    break
            chunk.append(queue.popleft())
        return chunk

    def _send(self, chunk: list[Write], end: Request | None) -> None:
        run = self._run
        self._sent = chunk
        self._sent_end = end
        chain: list[Request] = [w.request for w in chunk if not w.void]
        if end is not None:
            chain.append(end)
        if not chain:
            self._sent = None
            self._acknowledge(len(chunk))
            self.flush()
            return
        if run.observer is not None:
            run.observe_writes("before", chunk, end)
        self._sent_at = run.leases.now()
        future = run.store.submit(chain, credits=0 if end is None else run.take_credit())
        future.add_done_callback(self._answered)

    def _answered(self, future: "asyncio.Future[Answer]") -> None:
        chunk, end = self._sent or [], self._sent_end
        self._sent = self._sent_end = None
        if self._run.ended or future.cancelled():
            return
        error = future.exception()
        if isinstance(error, ServerUnavailable) and error.retriable:
            self._resent = True
            self._again(chunk)
        elif error is not None:
            self._run.abandon(error)
        else:
            self._run.leases.acknowledge(self._sent_at)
            answer = future.result()
            resent = answer.resent or self._resent
            self._resent = False
            self._guarded(lambda: self._read(chunk, end, answer.outcomes, resent=resent))

    def _read(
        self,
        chunk: list[Write],
        end: Request | None,
        outcomes: Sequence[Outcome],
        *,
        resent: bool,
    ) -> None:
        run = self._run
        position = 0
        for index, write in enumerate(chunk):
            if write.void:
                continue
            outcome = outcomes[position]
            position += 1
            if isinstance(outcome, Skipped):
                # A step was settled by somebody else, which the run has just learned of: what was
                # sent behind it goes out again, with whatever the run makes of that.
                self._acknowledge(index)
                self._queue.extendleft(reversed(chunk[index:]))
                self.flush()
                return
            inner = outcome.action if type(outcome) is Done else outcome
            if type(inner) is not Done:
                self._acknowledge(index)
                assert isinstance(inner, Refusal)
                fenced_out = inner is outcome
                self._refused(chunk[index:], end, inner, fenced_out=fenced_out, resent=resent)
                return
            run.on_written(write, inner)
            if run.ended:
                return
        self._pause_s = 0.0
        self._server_errors = 0
        if run.observer is not None:
            run.observe_writes("after", chunk, end)
        self._acknowledge(len(chunk))
        if end is None:
            self.flush()
            return
        outcome = outcomes[position]
        if isinstance(outcome, Skipped):
            self.flush()
        elif isinstance(outcome, Refusal) and outcome.status in _TRY_AGAIN:
            self._try_again([], outcome)
        else:
            run.on_end(end, outcome, resent=resent)

    def _refused(
        self,
        rest: list[Write],
        end: Request | None,
        refusal: Refusal,
        *,
        fenced_out: bool,
        resent: bool,
    ) -> None:
        """Deal with a chain that ended at its first remaining write."""
        if fenced_out and refusal.status in _TASK_GONE:
            self._run.on_gone(end, resent=resent)
        elif refusal.status in _TRY_AGAIN:
            self._try_again(rest, refusal)
        else:
            # This write can never succeed: the child fails, what follows it goes on without it.
            write = rest[0]
            self._acknowledge(1)
            self._queue.extendleft(reversed(rest[1:]))
            if write.role is Role.CREATE:
                for other in self._queue:
                    other.void = other.void or other.child is write.child
            self._run.on_refused(write, refusal)
            self.flush()

    def _try_again(self, rest: list[Write], refusal: Refusal) -> None:
        if refusal.status == 500:  # noqa: PLR2004 - the status of a defect
            self._server_errors += 1
            if self._server_errors >= SERVER_ERRORS_MAX:
                self._run.give_up(refusal)
                return
        self._again(rest)

    def _again(self, rest: list[Write]) -> None:
        """Send the same again after a pause: every write may arrive twice."""
        self._queue.extendleft(reversed(rest))
        self._pause_s = min(max(self._pause_s * 2, RETRY_S_MIN), RETRY_S_MAX)
        delay = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        self._paused = self._run.loop.call_later(delay, self._unpause)

    def _unpause(self) -> None:
        self._paused = None
        self._guarded(self.flush)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Act from a callback of the loop: a defect ends the run instead of leaving it to hang."""
        try:
            act()
        except Exception as defect:  # noqa: BLE001 - whatever it is, the lease must not be kept
            self._run.abandon(defect)

    def _acknowledge(self, count: int) -> None:
        self.acked += count
        gates = self._gates
        while gates and gates[0][0] <= self.acked:
            gate = gates.popleft()[1]
            if not gate.done():
                gate.set_result(None)
