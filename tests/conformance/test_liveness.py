"""What must come in the end, when the clock goes on (L1 to L7)."""

import pytest

from tests.conformance.stories import EXTERNAL, SPAN, TARGET, TIMER, TTL, Story
from tests.conformance.systems import TIMED

SCOPES = ({"resonate:scope": "global"}, {"resonate:scope": "local"})


@pytest.mark.parametrize("tags", [EXTERNAL, TARGET, TIMER, SCOPES[0]])
async def test_l1_every_armed_promise_is_settled_by_its_deadline(
    story: Story, tags: dict[str, str]
) -> None:
    create = {"id": "a", "timeoutAt": story.now + SPAN, "tags": tags}
    await story.done("promise.create", **create)

    await story.advance(SPAN)

    settled = await story.got("a")
    assert settled["state"] == ("resolved" if tags is TIMER else "rejected_timedout")
    assert settled["settledAt"] == settled["timeoutAt"] == create["timeoutAt"]
    assert settled["value"] == {}


@pytest.mark.parametrize("state", ["pending", "acquired", "suspended", "halted"])
async def test_l2_every_task_ends(story: Story, state: str) -> None:
    await story.external("a", span=2 * SPAN)
    await story.target("x")
    if state != "pending":
        await story.acquire("x")
    if state == "suspended":
        await story.suspend("x", "a")
    if state == "halted":
        await story.done("task.halt", id="x")
    assert (await story.task("x"))["state"] == state

    await story.advance(SPAN)

    assert (await story.task("x"))["state"] == "fulfilled"


@pytest.mark.parametrize("tags", [EXTERNAL, TIMER, *SCOPES])
async def test_l3_every_awaiter_goes_on_at_the_latest_by_the_deadline(
    story: Story, tags: dict[str, str]
) -> None:
    await story.done("promise.create", id="a", timeoutAt=story.now + SPAN, tags=tags)
    await story.run("x", span=2 * SPAN)
    assert await story.suspend("x", "a") == (200, {})

    await story.advance(SPAN)

    assert await story.task("x") == {"id": "x", "state": "pending", "version": 1, "resumes": 1}


async def test_l3_an_awaiter_that_is_over_too_is_not_woken(story: Story) -> None:
    await story.external("a")
    await story.run("x")
    await story.suspend("x", "a")

    await story.advance(SPAN)

    assert (await story.task("x"))["state"] == "fulfilled"
    assert (await story.got("a"))["state"] == (await story.got("x"))["state"]


async def test_l5_a_pending_task_can_be_taken_at_the_version_that_it_shows(story: Story) -> None:
    """That it is offered to whoever is connected is checked where members are."""
    await story.target("x")
    await story.tick()

    task = await story.task("x")

    assert (await story.acquire("x", version=task["version"]))["version"] == 1


async def test_l6_a_task_whose_holder_is_silent_is_offered_again(story: Story) -> None:
    await story.run("x")

    await story.advance(TTL)

    assert await story.task("x") == {"id": "x", "state": "pending", "version": 1, "resumes": 0}
    assert await story.status("task.heartbeat", pid="p1", tasks=[{"id": "x", "version": 1}]) == 200
    assert (await story.task("x"))["state"] == "pending", "a lapsed lease is not brought back"


@pytest.mark.parametrize("system_name", TIMED, indirect=True)
@pytest.mark.parametrize("names", ["its task", "nothing"])
async def test_l6_a_holder_that_is_heard_of_keeps_its_task(story: Story, names: str) -> None:
    """By the wall's clock a heartbeat extends by less than a span of a story."""
    refs = [{"id": "x", "version": 1}] if names == "its task" else []
    await story.run("x")
    for _ in range(3):
        await story.advance(TTL - 1)
        await story.done("task.heartbeat", pid="p1", tasks=refs)

    await story.advance(TTL - 1)
    assert (await story.task("x"))["state"] == "acquired"
    await story.advance(1)
    assert (await story.task("x"))["state"] == "pending"


@pytest.mark.parametrize("system_name", TIMED, indirect=True)
async def test_l7_every_occurrence_of_a_schedule_creates_its_promise_once(story: Story) -> None:
    """The stream of operations has no schedules."""
    story.now = 60_000
    schedule = {
        "id": "nightly",
        "cron": "*/1 * * * *",
        "promiseId": "{{.id}}-{{.timestamp}}",
        "promiseTimeout": 30_000,
        "promiseTags": TARGET,
    }
    await story.done("schedule.create", **schedule)

    for span in (59_999, 1, 0, 190_000, 0):
        await story.advance(span)

    found = (await story.done("promise.search"))["promises"]
    assert [(promise["id"], promise["createdAt"]) for promise in found] == [
        (f"nightly-{at}", at) for at in (120_000, 180_000, 240_000, 300_000)
    ]
    kept = (await story.done("schedule.get", id="nightly"))["schedule"]
    assert (kept["lastRunAt"], kept["nextRunAt"]) == (300_000, 360_000)
