"""What clients demand of each answer and message, else they drop it (§1.6)."""

from typing import Any

PROMISE_STATES = {"pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"}
TASK_STATES = {"pending", "acquired", "suspended", "halted", "fulfilled"}
SEARCHED = {
    "promise.search": "promises",
    "task.search": "tasks",
    "schedule.search": "schedules",
}


def check_response(body: Any, *, is_inner: bool = False) -> None:
    """Raise `AssertionError` for an answer that a client would not take."""
    assert set(body) == {"kind", "head", "data"}, body
    head = body["head"]
    assert isinstance(body["kind"], str)
    assert isinstance(head["corrId"], str)
    assert is_integer(head["status"])
    assert head["version"] == "2026-04-01"
    data = body["data"]
    if head["status"] not in {200, 300}:
        assert isinstance(data, str), data
        assert data
        return
    if body["kind"] == "debug.tick":
        assert isinstance(data, list)
        return
    assert isinstance(data, dict), data
    _check_data(body["kind"], head["status"], data, is_inner=is_inner)


def _check_data(kind: str, status: int, data: dict[str, Any], *, is_inner: bool) -> None:
    if "promise" in data:
        check_promise(data["promise"])
    if "task" in data:
        check_task(data["task"])
    if "schedule" in data:
        check_schedule(data["schedule"])
    if kind in {"task.create", "task.acquire"}:
        assert {"promise", "task", "preload"} == set(data)
    if kind == "task.fence" or status == 300:
        assert isinstance(data["preload"], list)
    for promise in data.get("preload", []):
        check_promise(promise)
    if kind == "task.fence":
        assert not is_inner
        assert data["action"]["kind"] in {"promise.create", "promise.settle"}
        check_response(data["action"], is_inner=True)
    if kind in SEARCHED:
        assert isinstance(data[SEARCHED[kind]], list)
        assert isinstance(data.get("cursor", ""), str)
        checks = {"promises": check_promise, "tasks": check_task, "schedules": check_schedule}
        for record in data[SEARCHED[kind]]:
            checks[SEARCHED[kind]](record)


def check_message(message: Any) -> None:
    """Raise `AssertionError` for a pushed message that a client would drop."""
    assert isinstance(message["head"], dict)
    if message["kind"] == "execute":
        assert isinstance(message["head"]["serverUrl"], str)
        assert isinstance(message["data"]["task"]["id"], str)
        assert is_integer(message["data"]["task"]["version"])
    else:
        assert message["kind"] == "unblock"
        check_promise(message["data"]["promise"])


def check_promise(promise: Any) -> None:
    """Judge a promise."""
    assert isinstance(promise["id"], str)
    assert promise["state"] in PROMISE_STATES
    check_value(promise["param"])
    check_value(promise["value"])
    assert isinstance(promise["tags"], dict)
    assert is_integer(promise["timeoutAt"])
    assert is_integer(promise["createdAt"])
    assert ("settledAt" in promise) == (promise["state"] != "pending")
    assert is_integer(promise.get("settledAt", 0))


def check_value(value: Any) -> None:
    """Judge a payload."""
    assert isinstance(value, dict)
    assert isinstance(value.get("headers", {}), dict)
    assert isinstance(value.get("data", ""), str)


def check_task(task: Any) -> None:
    """Judge a task."""
    assert isinstance(task["id"], str)
    assert task["state"] in TASK_STATES
    for member in ("version", "resumes"):
        assert is_integer(task[member])
    is_held = task["state"] == "acquired"
    assert ("ttl" in task, "pid" in task) == (is_held, is_held)
    assert is_integer(task.get("ttl", 0))
    assert isinstance(task.get("pid", ""), str)


def check_schedule(schedule: Any) -> None:
    """Judge a schedule."""
    for member in ("id", "cron", "promiseId"):
        assert isinstance(schedule[member], str)
    for member in ("promiseTimeout", "createdAt", "nextRunAt"):
        assert is_integer(schedule[member])
    check_value(schedule["promiseParam"])
    assert isinstance(schedule["promiseTags"], dict)
    assert is_integer(schedule.get("lastRunAt", 0))


def is_integer(value: Any) -> bool:
    """Whether a number has neither a fraction nor an exponent; `True` is none."""
    return isinstance(value, int) and not isinstance(value, bool)
