"""From what the store answered to the status and the data of a response. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast.core.records import BRANCH
from holdfast.core.requests import Done, Outcome, Refusal
from holdfast_gateway.bridge.envelope import answer_of
from holdfast_gateway.bridge.records import Json, preload_json, promise_json, task_json

OK: Final = 200
CONFLICT: Final = 409
UNAVAILABLE: Final = 503

_WITH_TASK: Final = frozenset({"task.create", "task.acquire"})


@dataclass(frozen=True, slots=True)
class Result:
    """What a request comes to; `data` is text unless the status is 200 or 300."""

    status: int
    data: object


def result_of(kind: str, data: Mapping[str, Any], corr_id: str, outcome: Outcome) -> Result:
    """Write an outcome of an operation on promises or tasks."""
    match outcome:
        case Refusal():
            return Result(outcome.status, outcome.message)
        case Done():
            return Result(outcome.status, _done_json(kind, data, corr_id, outcome))
    raise AssertionError("an operation that is alone is never skipped")


def _done_json(kind: str, data: Mapping[str, Any], corr_id: str, done: Done) -> Json:
    if kind == "task.fence":
        return {
            "action": _inner_json(data["action"], corr_id, done.action),
            "preload": preload_json(done.preload, branch=data["id"], task_id=data["id"]),
        }
    if kind == "task.suspend":
        if done.status == OK:
            return {}
        # A promise with a target begins a branch, in all clients; only for one that does not are
        # its mates left out, which are a help and no answer.
        return {"preload": preload_json(done.preload, branch=data["id"], task_id=data["id"])}
    if kind in _WITH_TASK:
        assert done.promise is not None, "these answer both records"
        assert done.task is not None, "these answer both records"
        branch = done.promise.tags.get(BRANCH)
        return {
            "task": task_json(done.task),
            "promise": promise_json(done.promise),
            "preload": preload_json(done.preload, branch=branch, task_id=done.task.id),
        }
    written: Json = {}
    if done.promise is not None:
        written["promise"] = promise_json(done.promise)
    if done.task is not None:
        written["task"] = task_json(done.task)
    return written


def _inner_json(action: Mapping[str, Any], corr_id: str, outcome: Done | Refusal | None) -> Json:
    """Write the response of the operation inside a fence, an envelope of its own."""
    head = action.get("head")
    own = head.get("corrId") if isinstance(head, dict) else None
    match outcome:
        case Done(promise=promise) if promise is not None:
            data: object = {"promise": promise_json(promise)}
        case Refusal():
            data = outcome.message
        case _:
            raise AssertionError("a fence answers what its inside answered")
    return answer_of(
        kind=action["kind"],
        correlation_id=own if isinstance(own, str) else corr_id,
        status=outcome.status,
        data=data,
    )
