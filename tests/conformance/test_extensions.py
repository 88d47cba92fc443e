"""What only the gRPC contract has: chains, halts of itself, pauses and time zones of schedules."""

import pytest

from tests.conformance.stories import SPAN, TARGET, Story, fence, fulfilment, inside, suspension
from tests.conformance.systems import NAMES
from tests.traces.traces import Json

EXTENDED = tuple(name for name in NAMES if name != "bridge")
SCHEDULED = tuple(name for name in EXTENDED if name != "Connect")
"""The stream of operations lives by the wall's clock, which no schedule of a story waits for."""
DAY = 86_400_000
MIDNIGHT = 1_711_756_800_000
"""Of 30 March 2024; in the night that follows clocks are set forward in Berlin."""

extended = pytest.mark.parametrize("system_name", EXTENDED, indirect=True)
scheduled = pytest.mark.parametrize("system_name", SCHEDULED, indirect=True)


def operation(kind: str, data: Json) -> Json:
    return {"kind": kind, "data": data}


def step(promise_id: str, *, timeout_at: int) -> Json:
    tags = {"resonate:external": "true"}
    create = {"id": promise_id, "timeoutAt": timeout_at, "tags": tags}
    return fence("run", inside("promise.create", create))


def settled(promise_id: str, state: str = "resolved") -> Json:
    return fence("run", inside("promise.settle", {"id": promise_id, "state": state}))


async def chain(story: Story, *operations: tuple[str, Json]) -> list[int]:
    """Do several things at once; answer their statuses, 0 for what was skipped."""
    asked = [operation(kind, data) for kind, data in operations]
    answer = await story.done("chain", operations=asked)
    return [result["status"] for result in answer["results"]]


@extended
async def test_a_chain_begins_runs_and_ends_a_pass(story: Story) -> None:
    await story.run("run")
    last = story.now + SPAN

    statuses = await chain(
        story,
        ("task.fence", step("run.1", timeout_at=last)),
        ("task.fence", settled("run.1")),
        ("task.fence", step("run.2", timeout_at=last)),
        ("task.suspend", suspension("run", "run.1")),
        ("task.suspend", suspension("run", "run.2")),
    )

    assert statuses == [200, 200, 200, 300, 200]
    assert (await story.task("run"))["state"] == "suspended"


@extended
async def test_what_follows_a_refusal_is_skipped_and_what_was_done_stands(story: Story) -> None:
    await story.run("run")

    statuses = await chain(
        story,
        ("task.fence", step("run.1", timeout_at=story.now + SPAN)),
        ("task.release", {"id": "run", "version": 7}),
        ("promise.settle", {"id": "run.1", "state": "resolved"}),
        ("promise.create", {"id": "", "timeoutAt": 0}),
    )

    assert statuses == [200, 409, 0, 0]
    assert (await story.got("run.1"))["state"] == "pending"


@extended
async def test_what_is_malformed_is_refused_where_it_stands(story: Story) -> None:
    statuses = await chain(
        story,
        ("promise.create", {"id": "a", "timeoutAt": story.now + SPAN, "tags": TARGET}),
        ("task.acquire", {"id": "a", "version": 0, "pid": "", "ttl": 1}),
        ("promise.get", {"id": "a"}),
    )

    assert statuses == [200, 400, 0]
    assert (await story.got("a"))["state"] == "pending"


@extended
@pytest.mark.parametrize("behind", [fulfilment("run"), fulfilment("other")])
async def test_what_relies_on_a_settlement_is_skipped_when_another_came_first(
    story: Story, behind: Json
) -> None:
    """Malformed or not: it was sent in the belief that the settlement counts."""
    behind = {**behind, "id": "run"}
    await story.run("run")
    await story.external("a")
    await story.settle("a", "rejected")

    statuses = await chain(
        story,
        ("task.fence", {**settled("a"), "required": True}),
        ("task.fulfill", behind),
    )

    assert statuses == [200, 0]
    assert (await story.task("run"))["state"] == "acquired"


@extended
async def test_a_task_that_nobody_can_run_is_halted_at_last(story: Story) -> None:
    await story.target("x")
    for version in range(1, 11):
        assert (await story.task("x"))["state"] == "pending"
        await story.acquire("x", version=version - 1)
        unknown = {"id": "x", "version": version, "reason": "unknown_function"}
        await story.done("task.release", **unknown)

    assert (await story.task("x"))["state"] == "halted"
    await story.done("task.continue", id="x")
    await story.acquire("x", version=10)
    await story.done("task.release", id="x", version=11, reason="unknown_function")
    assert (await story.task("x"))["state"] == "pending", "who continues it begins to count anew"


@extended
async def test_only_who_holds_a_task_halts_it_by_its_version(story: Story) -> None:
    await story.run("x")

    assert await story.status("task.halt", id="x", version=0) == 409
    assert await story.status("task.halt", id="x", version=1) == 200
    assert await story.status("task.halt", id="x", version=1) == 409
    assert await story.status("task.halt", id="x") == 200


def nightly(**more: object) -> Json:
    return {
        "id": "nightly",
        "cron": "30 2 * * *",
        "promiseId": "{{.id}}-{{.timestamp}}",
        "promiseTimeout": DAY,
        "promiseTags": TARGET,
        **more,
    }


@scheduled
async def test_a_pause_is_not_made_up_for(story: Story) -> None:
    story.now = MIDNIGHT
    await story.done("schedule.create", **nightly(paused=True))
    await story.advance(2 * DAY)
    await story.done("schedule.pause", id="nightly", paused=False)
    await story.advance(DAY)
    await story.done("schedule.pause", id="nightly", paused=True)
    await story.advance(DAY)

    found = (await story.done("promise.search"))["promises"]

    assert [each["createdAt"] for each in found] == [MIDNIGHT + 2 * DAY + 9_000_000]
    assert await story.status("schedule.pause", id="nothing", paused=True) == 404


@scheduled
@pytest.mark.parametrize("cron", ["30 2 * * *", "0 30 2 * * *"])
async def test_a_time_that_clocks_skip_comes_at_the_end_of_the_gap(story: Story, cron: str) -> None:
    """In Berlin it is 1:30 by UTC in winter, 1:00 in the night without a 2:30, then 0:30."""
    story.now = MIDNIGHT
    zone = {"timeZone": "Europe/Berlin"}
    await story.done("schedule.create", **{**nightly(**zone), "cron": cron})

    await story.advance(3 * DAY)

    found = (await story.done("promise.search"))["promises"]
    instants = [MIDNIGHT + 5_400_000, MIDNIGHT + DAY + 3_600_000, MIDNIGHT + 2 * DAY + 1_800_000]
    assert [each["createdAt"] for each in found] == instants
    assert (await story.done("schedule.get", id="nightly"))["schedule"]["timeZone"] == (
        "Europe/Berlin"
    )
    assert await story.status("schedule.create", **nightly(timeZone="Nowhere/Land")) == 400
