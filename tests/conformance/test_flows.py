"""What libraries do with a store, from the first request of a run to its last."""

from tests.conformance.stories import SPAN, TTL, Story, fence, fulfilment, inside
from tests.traces.traces import Json


def child(promise_id: str, *, timeout_at: int, **tags: str) -> Json:
    named = {f"resonate:{name}": text for name, text in tags.items()}
    data = {"id": promise_id, "timeoutAt": timeout_at, "tags": named}
    return inside("promise.create", data)


def outcome(promise_id: str, data: str) -> Json:
    settle = {"id": promise_id, "state": "resolved", "value": {"data": data}}
    return inside("promise.settle", settle)


async def test_a_run_with_local_steps(story: Story) -> None:
    status, started = await story.run("run")
    assert (status, started["task"]["state"], started["task"]["version"]) == (200, "acquired", 1)

    for number in range(3):
        step = child(
            f"run.{number}", timeout_at=story.now + SPAN, scope="local", branch="run", parent="run"
        )
        created = await story.done("task.fence", **fence("run", step))
        assert created["action"]["data"]["promise"]["state"] == "pending"
        settled = await story.done("task.fence", **fence("run", outcome(f"run.{number}", "MQ==")))
        assert settled["action"]["data"]["promise"]["value"] == {"data": "MQ=="}
    ended = await story.done("task.fulfill", **fulfilment("run"))

    assert ended["promise"]["state"] == "resolved"
    status, again = await story.run("run", pid="p2")
    assert (status, again["task"]["state"], again["promise"]) == (
        *(200, "fulfilled"),
        ended["promise"],
    )


async def test_a_call_of_another_worker(story: Story) -> None:
    await story.run("run")
    call = child(
        "run.1", timeout_at=story.now + SPAN, scope="global", target="poll://any@w2", branch="run.1"
    )
    await story.done("task.fence", **fence("run", call))
    assert await story.suspend("run", "run.1") == (200, {})

    callee = await story.acquire("run.1", pid="p2")
    done = fulfilment("run.1", version=callee["version"], data="NDI=")
    await story.done("task.fulfill", **done)
    await story.tick()

    assert await story.task("run") == {"id": "run", "state": "pending", "version": 1, "resumes": 1}
    caller = await story.acquire("run", version=1)
    assert (caller["version"], caller["resumes"]) == (2, 0)
    assert (await story.got("run.1"))["value"] == {"data": "NDI="}


async def test_a_redirect_lets_the_holder_go_on_at_once(story: Story) -> None:
    await story.run("run")
    await story.external("a")
    await story.external("b")
    await story.settle("a")

    status, answer = await story.suspend("run", "a", "b")

    assert (status, type(answer["preload"])) == (300, list)
    assert (await story.task("run"))["state"] == "acquired"
    await story.settle("b")
    assert (await story.task("run"))["resumes"] == 0, "a redirect registers nothing"
    await story.done("task.fulfill", **fulfilment("run"))


async def test_a_sleep(story: Story) -> None:
    await story.run("run", span=2 * SPAN)
    sleep = child("run.1", timeout_at=story.now + SPAN, scope="global", timer="true")
    await story.done("task.fence", **fence("run", sleep))
    await story.suspend("run", "run.1")

    await story.advance(SPAN - TTL)
    assert (await story.task("run"))["state"] == "suspended"
    await story.advance(TTL)

    assert (await story.task("run"))["state"] == "pending"
    assert (await story.got("run.1"))["state"] == "resolved"


async def test_a_human_in_the_loop(story: Story) -> None:
    await story.run("run")
    question = child("run.1", timeout_at=story.now + SPAN, scope="global", parent="run")
    await story.done("task.fence", **fence("run", question))
    await story.suspend("run", "run.1")

    await story.settle("run.1", "rejected_canceled", "bm8=")

    assert (await story.task("run"))["state"] == "pending"
    await story.acquire("run", version=1)
    await story.done("task.fulfill", **fulfilment("run", version=2))


async def test_a_worker_that_vanishes_is_followed_by_another_one(story: Story) -> None:
    await story.run("run")
    step = child("run.1", timeout_at=story.now + SPAN, scope="local", branch="run")
    await story.done("task.fence", **fence("run", step))

    await story.advance(TTL)
    second = await story.acquire("run", version=1, pid="p2")

    assert second["version"] == 2
    late = fence("run", outcome("run.1", "bGF0ZQ=="))
    assert await story.status("task.fence", **late) == 409
    assert (await story.got("run.1"))["state"] == "pending"
    fresh = fence("run", outcome("run.1", "MQ=="), version=2)
    assert (await story.done("task.fence", **fresh))["action"]["head"]["status"] == 200


async def test_a_client_that_asks_for_a_run_twice_waits_for_the_first(story: Story) -> None:
    await story.run("run")

    status, _ = await story.run("run", pid="p2")
    listen = {"awaited": "run", "address": "poll://uni@g/p2"}
    pending = await story.done("promise.register_listener", **listen)
    await story.done("task.fulfill", **fulfilment("run"))

    assert (status, pending["promise"]["state"]) == (409, "pending")
    settled = await story.done("promise.register_listener", **listen)
    assert settled["promise"]["state"] == "resolved"


async def test_a_tree_is_found_by_its_origin(story: Story) -> None:
    names = [f"root.{number}" for number in range(4)]
    for name in names:
        await story.promise(name, resonate_origin="root")
    await story.promise("other", resonate_origin="other")

    found: list[str] = []
    page: Json = {}
    while page.get("cursor", "") is not None:
        at = {"cursor": page["cursor"]} if "cursor" in page else {}
        tags = {"resonate:origin": "root"}
        page = await story.done("promise.search", tags=tags, limit=3, **at)
        found += [promise["id"] for promise in page["promises"]]
        page.setdefault("cursor", None)

    assert found == names
