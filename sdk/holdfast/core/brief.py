"""Answers in brief: a promise that reads as its chain asked need not be told to who sent the chain.

Param, tags and value travel one way then, which is most of what an answer costs at both ends. Both
use this rule: the store to see whether an instant says it all, the member to read what it means.
"""

from msgspec.structs import replace

from holdfast.core.records import Promise
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskCreate,
    TaskFence,
)


class Told:
    """What the answers to a chain have told so far, one answer after the other."""

    __slots__ = ("_promises",)

    def __init__(self) -> None:
        self._promises: dict[str, Promise] = {}

    def tell(self, promise: Promise) -> None:
        """Remember a promise as an answer told it, in brief or not."""
        self._promises[promise.id] = promise

    def instant_for(self, request: Request, outcome: Outcome) -> int | None:
        """Answer the instant that says all about an outcome's promise, if there is one.

        The promise is told from now on, either way.
        """
        promise = _promise_in(outcome)
        if promise is None:
            return None
        at_ms = promise.created_at_ms if promise.settled_at_ms is None else promise.settled_at_ms
        expected = self.promise_at(request, at_ms)
        self._promises[promise.id] = promise
        if expected is None or replace(expected, armed=promise.armed) != promise:
            return None
        return at_ms

    def promise_at(self, request: Request, at_ms: int) -> Promise | None:
        """Say how a promise reads when a request did at an instant exactly what it asks for.

        `None` when the request and the answers so far do not say.
        """
        action = request.action if isinstance(request, (TaskFence, TaskCreate)) else request
        match action:
            case PromiseRecord(create=create):
                return Promise(
                    id=create.id,
                    state=action.state,
                    param=create.param,
                    value=action.value,
                    tags=create.tags,
                    timeout_at_ms=create.timeout_at_ms,
                    created_at_ms=at_ms,
                    settled_at_ms=at_ms,
                )
            case PromiseCreate():
                return Promise(
                    id=action.id,
                    param=action.param,
                    tags=action.tags,
                    timeout_at_ms=action.timeout_at_ms,
                    created_at_ms=at_ms,
                )
            case PromiseSettle():
                told = self._promises.get(action.id)
                if told is None:
                    return None
                return replace(told, state=action.state, value=action.value, settled_at_ms=at_ms)
            case PromiseRegisterListener():
                return self._promises.get(action.awaited)
        return None


def _promise_in(outcome: Outcome) -> Promise | None:
    """Answer the promise of an outcome; of a fence's, the inner one."""
    if isinstance(outcome, Done) and outcome.action is not None:
        outcome = outcome.action
    return outcome.promise if isinstance(outcome, Done) else None
