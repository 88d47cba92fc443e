"""Every operation on a task, in every state of the task, is answered as the protocol's table says.

What is refused has changed nothing, whatever it is.
"""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from tests.conformance.stories import (
    SPAN,
    TTL,
    Story,
    fence,
    fulfilment,
    inside,
    run,
    suspension,
)
from tests.traces.traces import Json

NONE, PENDING, ACQUIRED, SUSPENDED, HALTED, FULFILLED = (
    *("none", "pending", "acquired", "suspended", "halted", "fulfilled"),
)
STATES = (NONE, PENDING, ACQUIRED, SUSPENDED, HALTED, FULFILLED)

MATRIX: Mapping[str, tuple[int, ...]] = {
    "get": (404, 200, 200, 200, 200, 200),
    "create": (200, 200, 409, 409, 409, 200),
    "acquire": (404, 200, 409, 409, 409, 409),
    "release": (404, 409, 200, 409, 409, 409),
    "fulfill": (404, 409, 200, 409, 409, 409),
    "suspend on an open promise": (404, 409, 200, 409, 409, 409),
    "suspend on a settled promise": (404, 409, 300, 409, 409, 409),
    "suspend on an internal promise": (404, 409, 422, 409, 409, 409),
    "suspend on an unknown promise": (404, 409, 422, 409, 409, 409),
    "fence": (404, 409, 200, 409, 409, 409),
    "heartbeat": (200, 200, 200, 200, 200, 200),
    "halt": (404, 200, 200, 200, 200, 409),
    "continue": (404, 409, 409, 409, 200, 409),
}
VERSIONED = ("acquire", "release", "fulfill", "fence", *(o for o in MATRIX if o[:7] == "suspend"))


async def bring(story: Story, state: str) -> int:
    """Bring the task `x` into a state; answer its version."""
    await story.external("open")
    await story.external("settled")
    await story.settle("settled")
    await story.promise("internal")
    ways: Mapping[str, tuple[Callable[[], Awaitable[object]], ...]] = {
        NONE: (),
        PENDING: (lambda: story.target("x"),),
        ACQUIRED: (lambda: story.run("x"),),
        SUSPENDED: (lambda: story.run("x"), lambda: story.suspend("x", "open")),
        HALTED: (lambda: story.run("x"), lambda: story.done("task.halt", id="x")),
        FULFILLED: (lambda: story.run("x"), lambda: story.settle("x")),
    }
    for step in ways[state]:
        await step()
    if state == NONE:
        return 0
    task = await story.task("x")
    assert task["state"] == state
    return int(task["version"])


def request(operation: str, version: int, story: Story) -> tuple[str, Json]:
    """Write an operation on `x`."""
    word, _, awaited = operation.partition(" on a")
    kind = f"task.{word}"
    lease = {"id": "x", "version": version}
    data: Json = {"id": "x"}
    match word:
        case "create":
            data = run("x", timeout_at=story.now + SPAN, pid="p2")
        case "acquire":
            data = {**lease, "pid": "p2", "ttl": TTL}
        case "release":
            data = lease
        case "fulfill":
            data = fulfilment("x", version=version)
        case "suspend":
            data = suspension("x", awaited.split()[-2], version=version)
        case "fence":
            action = inside("promise.create", {"id": "child", "timeoutAt": story.now + SPAN})
            data = fence("x", action, version=version)
        case "heartbeat":
            data = {"pid": "p1", "tasks": [lease]}
    return kind, data


@pytest.mark.parametrize("operation", MATRIX)
async def test_a_row_of_the_matrix(story: Story, operation: str) -> None:
    for state, expected in zip(STATES, MATRIX[operation], strict=True):
        await story.begin()
        version = await bring(story, state)
        before = await story.shown("x")
        kind, data = request(operation, version, story)

        status, answer = await story(kind, **data)

        assert status == expected, f"{state}: {answer}"
        if operation in {"create", "acquire"} and status == 200 and state != FULFILLED:
            assert answer["task"]["version"] == version + 1, state
        if status not in {200, 300}:
            assert await story.shown("x") == before, f"{state}: what is refused changes nothing"
            assert await story.status("promise.get", id="child") == 404, state


@pytest.mark.parametrize("operation", VERSIONED)
async def test_another_version_is_a_conflict_and_changes_nothing(
    story: Story, operation: str
) -> None:
    for drift in (-1, 1):
        await story.begin()
        await bring(story, ACQUIRED)
        if operation == "acquire":
            await story.done("task.release", id="x", version=1)
        before = await story.shown("x")
        kind, data = request(operation, 1 + drift, story)

        assert await story.status(kind, **data) == 409, f"version {1 + drift}"

        assert await story.shown("x") == before
