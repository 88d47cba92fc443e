"""Chains that wait for their answer: kept in order, sent again after a break, given up in time."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.requests import SKIPPED, Outcome, Refusal, Request
from holdfast.core.validation import validate
from holdfast.errors import ResonateError, ServerOverloaded
from holdfast.port import Answer

CHAINS_MAX: Final = 65_536
BYTES_MAX: Final = 256 * 1024 * 1024
"""What may wait in memory while a store is away or slow; beyond it a submit fails at once."""

WINDOW: Final = 2_048
"""Chains on the wire without an answer. Stores refuse more than 4096 of one stream."""


class Pending:
    """One chain, from its submission to its answer."""

    __slots__ = (
        "attempts",
        "chain",
        "correlation_id",
        "data",
        "deadline",
        "future",
        "resent",
        "resting",
        "sent",
    )

    def __init__(
        self,
        correlation_id: int,
        chain: Sequence[Request],
        data: bytes,
        deadline: float,
        future: "asyncio.Future[Answer]",
    ) -> None:
        self.correlation_id = correlation_id
        self.chain = chain
        """What an answer in brief is read with."""
        self.data = data
        """A whole `ConnectRequest` with this chain alone."""
        self.deadline = deadline
        """Instant on the event loop's clock."""
        self.future = future
        self.sent = False
        self.resent = False
        self.resting = False
        """Whether it waits for a pause to end before it is queued again."""
        self.attempts = 0
        """How often the store refused it for lack of room, or for lack of a database."""


class Chains:
    """All chains of one process without an answer.

    Invariant: a pending chain is queued, on the wire, or resting before it is queued again; it
    leaves by its answer, its deadline or a failure, and then its future is done.
    """

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}
        self._queue: deque[Pending] = deque()
        self._on_wire: dict[int, Pending] = {}
        self._bytes = 0
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._pending)

    def next_id(self) -> int:
        """Make a correlation id that no other chain of this process has."""
        correlation_id = self._next_id
        self._next_id += 1
        return correlation_id

    def add(self, pending: Pending) -> None:
        """Queue a new chain; raises `ServerOverloaded` when too much waits already."""
        if len(self._pending) >= CHAINS_MAX or self._bytes + len(pending.data) > BYTES_MAX:
            raise ServerOverloaded(
                f"{len(self._pending)} operations wait for the store; no more can be kept",
                code="too_many_pending",
            )
        self._pending[pending.correlation_id] = pending
        self._bytes += len(pending.data)
        self._queue.append(pending)

    def add_again(self, pending: Pending) -> None:
        """Queue a chain that rested, unless it was given up or queued by a break meanwhile."""
        if pending.resting and pending.correlation_id in self._pending:
            pending.resting = False
            self._queue.append(pending)

    def take(self, bytes_max: int) -> list[bytes]:
        """Put queued chains on the wire: in order, as many as fit a message and the window."""
        taken: list[bytes] = []
        size = 0
        queue = self._queue
        while queue and len(self._on_wire) < WINDOW:
            pending = queue[0]
            if pending.correlation_id not in self._pending:
                queue.popleft()  # given up while it was queued
                continue
            size += len(pending.data)
            if taken and size > bytes_max:
                break
            queue.popleft()
            pending.resent = pending.resent or pending.sent
            pending.sent = True
            self._on_wire[pending.correlation_id] = pending
            taken.append(pending.data)
        return taken

    @property
    def may_send(self) -> bool:
        """Whether something is queued and the window has room."""
        return bool(self._queue) and len(self._on_wire) < WINDOW

    @property
    def has_queued(self) -> bool:
        """Whether something is queued, with or without room for it."""
        return bool(self._queue)

    @property
    def on_wire(self) -> int:
        """How many chains were sent on this stream and have no answer."""
        return len(self._on_wire)

    def find(self, correlation_id: int) -> Pending | None:
        """Find the chain of a result that arrived; `None` for one that was given up."""
        self._on_wire.pop(correlation_id, None)
        return self._pending.get(correlation_id)

    def answer(self, pending: Pending, outcomes: Sequence[Outcome]) -> None:
        """Finish a chain with its outcomes."""
        self._forget(pending)
        if not pending.future.done():
            pending.future.set_result(Answer(outcomes=outcomes, resent=pending.resent))

    def requeue_all(self) -> None:
        """After a break: everything that has no answer is sent again, in its first order."""
        self._on_wire.clear()
        self._queue = deque(self._pending.values())
        for pending in self._queue:
            pending.resting = False

    def fail_all(self, error: ResonateError) -> None:
        """Give everything up for one reason."""
        for pending in list(self._pending.values()):
            self.fail(pending, error)

    def fail_late(self, now: float, error: ResonateError) -> None:
        """Give up what is past its deadline."""
        late = [p for p in self._pending.values() if p.deadline <= now]
        for pending in late:
            self.fail(pending, error)

    def fail(self, pending: Pending, error: ResonateError) -> None:
        """Give one chain up."""
        self._forget(pending)
        if not pending.future.done():
            # Each waiter gets an exception of its own: a shared one would collect tracebacks.
            pending.future.set_exception(
                type(error)(error.message, code=error.code, retriable=error.retriable)
            )

    def _forget(self, pending: Pending) -> None:
        if self._pending.pop(pending.correlation_id, None) is not None:
            self._bytes -= len(pending.data)


def unsendable(chain: Sequence[Request], reason: str) -> list[Outcome]:
    """Refuse a chain that the wire cannot carry, at the operation that the rules refuse."""
    for index, request in enumerate(chain):
        flaw = validate(request, DEFAULT_PROFILE)
        if flaw is not None:
            return [*[SKIPPED] * index, flaw, *[SKIPPED] * (len(chain) - index - 1)]
    unexplained = Refusal(status=400, code="invalid_request", message=reason)
    return [unexplained, *[SKIPPED] * (len(chain) - 1)]


def too_large(chain: Sequence[Request], size: int, *, bytes_max: int) -> list[Outcome]:
    """Refuse a chain that no message holds, or that has no operation."""
    message = (
        f"a chain must have at least one operation and at most {bytes_max} bytes,"
        f" it has {len(chain)} and {size}"
    )
    flaw = Refusal(status=400, code="invalid_chain", message=message)
    return [flaw, *[SKIPPED] * (len(chain) - 1)]
