"""What clients may rely on, told apart from what a store keeps inside (B2 to B12).

B1, that concurrent clients see one order, is the business of `tests/linearizability`.
"""

import pytest

from tests.conformance.stories import SPAN, TTL, Story, fence, fulfilment, inside, suspension
from tests.conformance.systems import TIMED
from tests.traces.traces import Json

LIVES = ("resolved", "rejected", "rejected_canceled", "rejected_timedout", "timer")


@pytest.mark.parametrize("life", LIVES)
async def test_b2_a_settled_promise_reads_the_same_for_ever_and_everywhere(
    story: Story, life: str
) -> None:
    await (story.timer("x", span=SPAN) if life == "timer" else story.target("x"))
    if life in {"timer", "rejected_timedout"}:
        await story.advance(SPAN)
    else:
        await story.settle("x", life, "MQ==")
    settled = await story.got("x")

    assert settled["state"] == ("resolved" if life == "timer" else life)
    assert await story.settle("x", "rejected", "eA==") == settled
    assert await story.promise("x") == settled
    listen = {"awaited": "x", "address": "poll://uni@g/p"}
    assert (await story.done("promise.register_listener", **listen))["promise"] == settled
    assert (await story.done("promise.search"))["promises"] == [settled]
    await story.advance(SPAN)
    assert await story.got("x") == settled
    if life != "timer":
        _, found = await story.run("x")
        assert found["promise"] == settled


async def test_b3_a_fulfilled_task_stays_so_with_its_version(story: Story) -> None:
    await story.run("x")
    await story.done("task.fulfill", **fulfilment("x"))
    ended = await story.task("x")

    await story.run("x", pid="p2")
    await story.settle("x", "rejected")
    await story.advance(2 * SPAN)

    assert ended == {"id": "x", "state": "fulfilled", "version": 1, "resumes": 0}
    assert await story.task("x") == ended


async def test_b4_one_of_several_acquires_of_a_version_succeeds(story: Story) -> None:
    await story.target("x")
    lease = {"id": "x", "version": 0, "ttl": TTL}

    statuses = [
        await story.status("task.acquire", pid=pid, **lease) for pid in ("p1", "p2", "p1", "p3")
    ]

    assert statuses == [200, 409, 409, 409]
    assert (await story.task("x"))["pid"] == "p1"


async def test_b5_versions_never_decrease(story: Story) -> None:
    await story.external("a")
    await story.target("x")
    seen = [(await story.task("x"))["version"]]
    for again in range(3):
        await story.acquire("x", version=seen[-1])
        seen.append((await story.task("x"))["version"])
        match again:
            case 0:
                await story.done("task.release", id="x", version=seen[-1])
            case 1:
                await story.done("task.halt", id="x")
                await story.done("task.continue", id="x")
            case 2:
                await story.done("task.suspend", **suspension("x", "a", version=seen[-1]))
                await story.settle("a")
        seen.append((await story.task("x"))["version"])

    assert seen == [0, 1, 1, 2, 2, 3, 3], "up by one with each lease, and by nothing else"


@pytest.mark.parametrize("member", ["a", "b", "c"])
async def test_b6_any_of_the_awaited_wakes_a_suspended_task(story: Story, member: str) -> None:
    for awaited in ("a", "b", "c"):
        await story.external(awaited)
    await story.run("x")
    await story.suspend("x", "a", "b", "c")
    assert (await story.task("x"))["state"] == "suspended"

    await story.settle(member, "rejected")
    await story.tick()

    assert await story.task("x") == {"id": "x", "state": "pending", "version": 1, "resumes": 1}


@pytest.mark.parametrize("write", ["fence", "fulfill", "suspend", "release"])
async def test_b7_a_late_holder_writes_nothing_once_another_one_has_acquired(
    story: Story, write: str
) -> None:
    await story.external("a")
    await story.run("x")
    await story.advance(TTL)
    await story.acquire("x", version=1, pid="p2")
    before = await story.shown("x")

    child = inside("promise.create", {"id": "child", "timeoutAt": story.now + SPAN})
    data: Json = {
        "fence": fence("x", child),
        "fulfill": fulfilment("x"),
        "suspend": suspension("x", "a"),
        "release": {"id": "x", "version": 1},
    }[write]

    assert await story.status(f"task.{write}", **data) == 409
    assert await story.shown("x") == before
    assert await story.status("promise.get", id="child") == 404


async def test_b8_repeating_a_request_answers_the_same_record(story: Story) -> None:
    await story.external("a")
    await story.run("x")
    listen = {"awaited": "a", "address": "poll://uni@g/p"}
    call = {"awaited": "a", "awaiter": "x"}
    requests: list[tuple[str, Json]] = [
        ("promise.create", {"id": "b", "timeoutAt": story.now + SPAN}),
        ("promise.register_listener", listen),
        ("promise.register_callback", call),
        ("task.halt", {"id": "x"}),
        ("promise.settle", {"id": "a", "state": "resolved", "value": {"data": "MQ=="}}),
    ]

    for kind, data in requests:
        first = await story.done(kind, **data)
        shown = await story.shown("x")
        assert await story.done(kind, **data) == first, kind
        assert await story.shown("x") == shown, kind


@pytest.mark.parametrize("second", ["resolved", "rejected", "rejected_canceled"])
async def test_b9_settling_twice_is_settling_once(story: Story, second: str) -> None:
    await story.external("a")
    settled = await story.settle("a", "resolved", "MQ==")

    assert await story.settle("a", second, "Mg==") == settled


async def test_b10_halting_and_continuing_is_releasing(story: Story) -> None:
    for task_id in ("x", "y"):
        await story.external(f"{task_id}.a")
        await story.run(task_id)
        await story.done("promise.register_callback", awaited=f"{task_id}.a", awaiter=task_id)
        await story.settle(f"{task_id}.a")

    await story.done("task.release", id="x", version=1)
    await story.done("task.halt", id="y")
    assert await story.status("task.release", id="y", version=1) == 409
    await story.done("task.continue", id="y")

    released, continued = await story.task("x"), await story.task("y")
    assert released == {"id": "x", "state": "pending", "version": 1, "resumes": 1}
    assert continued == {**released, "id": "y"}


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("promise.settle", {"id": "a", "state": "rejected_timedout"}, 400),
        ("promise.register_callback", {"awaited": "a", "awaiter": "a"}, 400),
        ("promise.register_callback", {"awaited": "a", "awaiter": "internal"}, 422),
        ("promise.register_callback", {"awaited": "internal", "awaiter": "x"}, 422),
        ("promise.register_callback", {"awaited": "nobody", "awaiter": "x"}, 404),
        ("promise.register_listener", {"awaited": "internal", "address": "poll://uni@g/p"}, 422),
        ("promise.register_listener", {"awaited": "a", "address": "not a url"}, 400),
        ("task.suspend", suspension("x", "a", "internal"), 422),
        ("task.suspend", suspension("x", "a", "nobody"), 422),
        ("task.suspend", suspension("x", "a", "a"), 400),
        ("task.suspend", suspension("x", "x"), 400),
        ("task.suspend", suspension("x"), 400),
        ("task.fulfill", fulfilment("x", version=7), 409),
        ("task.release", {"id": "x", "version": 0}, 409),
        ("task.acquire", {"id": "x", "version": 1, "pid": "p2", "ttl": 0}, 400),
        ("task.continue", {"id": "x"}, 409),
    ],
)
async def test_b11_what_is_refused_has_changed_nothing(
    story: Story, kind: str, data: Json, status: int
) -> None:
    await story.external("a")
    await story.promise("internal")
    await story.run("x")
    before = [await story.shown(each) for each in ("a", "internal", "x")]

    assert await story.status(kind, **data) == status

    assert [await story.shown(each) for each in ("a", "internal", "x")] == before
    await story.settle("a")
    assert (await story.task("x"))["resumes"] == 0, "no callback was left behind"


@pytest.mark.parametrize("system_name", TIMED, indirect=True)
async def test_b12_a_deadline_that_nobody_has_stored_reads_as_one_that_is_stored(
    story: Story,
) -> None:
    """By the wall's clock such a deadline is met only by waiting for it."""
    tasks = {True: "swept", False: "seen"}
    for task_id in tasks.values():
        await story.target(task_id, span=50)
        await story.acquire(task_id)
    story.now += 50
    seen = await story.shown("seen")
    late = [
        await story.status("task.fulfill", **fulfilment("seen")),
        await story.status("task.halt", id="seen"),
        await story.status("task.heartbeat", pid="p1", tasks=[{"id": "seen", "version": 1}]),
    ]
    await story.tick()

    assert late == [409, 409, 200]
    assert await story.shown("seen") == seen
    (_, promise), (_, task) = await story.shown("swept")
    assert (_, promise)[1] == {"promise": {**seen[0][1]["promise"], "id": "swept"}}
    assert task == {"task": {**seen[1][1]["task"], "id": "swept"}}
