"""Everything that a store holds, in the shape of `debug.snap` (§6.4). Pure."""

from collections.abc import Iterable, Mapping

from holdfast.core.stored import StoredState
from holdfast_gateway.bridge.messages import EXECUTE, UNBLOCK
from holdfast_gateway.bridge.records import Json, promise_json, schedule_json, task_json

_RETRY = 0
_LEASE = 1


def snapshot_json(state: StoredState) -> Json:
    """Write stored rows, as they are."""
    return {
        "promises": [promise_json(each) for each in state.promises.values()],
        "promiseTimeouts": _timeouts(state.promise_timeouts),
        "callbacks": [
            {"awaiter": awaiter, "awaited": awaited} for awaited, awaiter in sorted(state.callbacks)
        ],
        "listeners": [
            {"id": promise_id, "address": address}
            for promise_id, address in sorted(state.listeners)
        ],
        "tasks": [task_json(each) for each in state.tasks.values()],
        "taskTimeouts": [
            *_timeouts(state.task_retries, type=_RETRY),
            *_timeouts(state.task_leases, type=_LEASE),
        ],
        "messages": [*_executes(state), *_unblocks(state)],
        "schedules": [schedule_json(each) for each in state.schedules.values()],
        "scheduleTimeouts": _timeouts(state.schedule_timeouts),
    }


def _timeouts(instants: Mapping[str, int], **more: int) -> list[Json]:
    return [{"id": key, **more, "timeout": at_ms} for key, at_ms in sorted(instants.items())]


def _executes(state: StoredState) -> Iterable[Json]:
    for address, task_id, version in sorted(state.executes):
        yield _message(address, EXECUTE, {"task": {"id": task_id, "version": version}})


def _unblocks(state: StoredState) -> Iterable[Json]:
    for address, promise_id in sorted(state.unblocks):
        yield _message(address, UNBLOCK, {"promise": promise_json(state.promises[promise_id])})


def _message(address: str, kind: str, data: Json) -> Json:
    return {"address": address, "message": {"kind": kind, "head": {}, "data": data}}
