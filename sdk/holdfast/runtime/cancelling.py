"""Cancels what is beneath a canceled promise: attached children, and theirs.

A settled promise gets no new children: every write of the run that made it is refused from then on.
So it is settled first, then its children are listed, and those that are pending are canceled in the
same way. Whoever was interrupted may do it again: what is canceled already is passed through.

The store lists children to whoever takes a task: they are preloaded. So a task is made for that, in
the branch of the promise, and ended in the same transaction. Its promise stays in the tree, and
tells that, and when, something was canceled there.
"""

import asyncio
import re
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from holdfast.core.records import (
    BRANCH,
    EMPTY,
    ORIGIN,
    PARENT,
    PREFIX,
    SCOPE,
    TARGET,
    Preload,
    Promise,
    PromiseState,
    Value,
)
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseSettle,
    Refusal,
    Request,
    TaskCreate,
    TaskFulfill,
)
from holdfast.errors import ServerUnavailable
from holdfast.lineage import DETACHED_HEADER, Lineage, listener_address
from holdfast.outcomes import error_of
from holdfast.port import Store

T = TypeVar("T")

SPAN_MS = 60_000
"""Deadline of the promise that lists; it is settled in the transaction that makes it."""

LISTINGS_MAX = 5
"""Attempts to list the children of one promise, when the answer is lost again and again."""

AT_ONCE = 256
"""Children that are canceled side by side."""

_DETACHED_ID = re.compile(r"\.d[0-9a-f]{14,16}")
_LIVELY = frozenset({PromiseState.PENDING, PromiseState.REJECTED_CANCELED})
"""Children in other states have ended by themselves, after all that is beneath them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceller:
    """Cancels trees in the name of one process."""

    store: Store
    group: str
    pid: str

    async def settle(self, promise_id: str, value: Value = EMPTY) -> Promise:
        """Cancel one promise; answer how it stands, which may be otherwise if it was settled."""
        request = PromiseSettle(id=promise_id, state=PromiseState.REJECTED_CANCELED, value=value)
        outcome = (await self.store.submit([request])).outcomes[0]
        promise = _done(outcome).promise
        assert promise is not None
        return promise

    async def cancel_beneath(self, root: Promise, *, now_ms: int) -> bool:
        """Cancel what is attached to a canceled promise; answer whether everything was found.

        It was not if the children's records are more than the store preloads.
        """
        complete = True
        waiting = [root]
        while waiting:
            found = await _limited([partial(self._children, p, now_ms=now_ms) for p in waiting])
            complete = complete and all(preload.complete for _, preload in found)
            children = [c for parent, preload in found for c in _attached(parent, preload.promises)]
            pending = [c for c in children if c.state is PromiseState.PENDING]
            settled = await _limited([partial(self.settle, child.id) for child in pending])
            known = [c for c in children if c.state is not PromiseState.PENDING]
            # Only what has a task of its own has children that were not listed yet.
            waiting = [c for c in (*known, *settled) if c.state in _LIVELY and TARGET in c.tags]
        return complete

    async def _children(self, parent: Promise, *, now_ms: int) -> tuple[Promise, Preload]:
        """Read the records of a promise's branch, and of the children of those."""
        for _ in range(LISTINGS_MAX):
            preload = await self._list(parent, now_ms=now_ms)
            # A listing that was sent again after its stream broke finds itself done: it is answered
            # without the records, which went away with the first answer. The next one has them.
            if preload is not None:
                return parent, preload
        raise ServerUnavailable(f"what is beneath {parent.id} was listed, and each answer was lost")

    async def _list(self, parent: Promise, *, now_ms: int) -> Preload | None:
        lineage = Lineage.of(parent)
        listing = f"{parent.id}.canceled-{secrets.token_hex(4)}"
        create = PromiseCreate(
            id=listing,
            timeout_at_ms=now_ms + SPAN_MS,
            tags={
                SCOPE: "global",
                TARGET: listener_address(self.group, self.pid),
                BRANCH: lineage.branch,
                PARENT: parent.id,
                ORIGIN: lineage.origin,
                PREFIX: lineage.prefix,
            },
        )
        end = PromiseSettle(id=listing, state=PromiseState.RESOLVED)
        chain: Sequence[Request] = [
            TaskCreate(pid=self.pid, ttl_ms=SPAN_MS, action=create),
            TaskFulfill(id=listing, version=1, action=end),
        ]
        return _done((await self.store.submit(chain)).outcomes[0]).preload


def _attached(parent: Promise, records: Sequence[Promise]) -> Iterator[Promise]:
    """List the children of a promise, and those of its local children, among a branch's records."""
    by_parent: Mapping[str, list[Promise]] = defaultdict(list)
    for record in records:
        by_parent[record.tags.get(PARENT, "")].append(record)
    waiting = [parent.id]
    seen = {parent.id}
    while waiting:
        for child in by_parent.get(waiting.pop(), ()):
            if child.id in seen or child.state not in _LIVELY or is_detached(child):
                continue
            seen.add(child.id)
            yield child
            if TARGET not in child.tags:
                waiting.append(child.id)


def is_detached(promise: Promise) -> bool:
    """Whether a child has a life of its own: by what this library, or an official SDK, wrote."""
    headers = promise.param.headers
    if headers is not None and DETACHED_HEADER in headers:
        return True
    tags = promise.tags
    prefix = tags.get(PREFIX, "")
    return (
        tags.get(ORIGIN) == promise.id
        and promise.id.startswith(prefix)
        and _DETACHED_ID.fullmatch(promise.id, len(prefix)) is not None
    )


async def _limited(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Make many calls, so many at a time."""
    answers: list[T] = []
    for start in range(0, len(calls), AT_ONCE):
        answers += await asyncio.gather(*(call() for call in calls[start : start + AT_ONCE]))
    return answers


def _done(outcome: Outcome) -> Done:
    if isinstance(outcome, Done):
        return outcome
    assert isinstance(outcome, Refusal), "the first operation of a chain is never skipped"
    raise error_of(outcome)
