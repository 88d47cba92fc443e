"""What users of the protocol's clients do, through the bridge of `holdfast dev`.

Each client is run as it comes: one that was written from the description of the protocol, and the
official ones, unmodified.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
from contextlib import closing
from typing import Any

import httpx

from tests.integration.bridge.system import Client
from tests.official.programs import SECONDS_MAX, User
from tests.official.system import System

_numbers = itertools.count(1)


def new_id(kind: str) -> str:
    return f"{kind}-{next(_numbers):04}"


async def ask(user: User, kind: str, data: dict[str, Any]) -> Any:
    """Ask the bridge beside the client."""

    def answered() -> Any:
        with closing(Client(user.url)) as client:
            answer = client(kind, data)
        assert answer.status == 200, answer
        return answer.data

    return await asyncio.to_thread(answered)


async def pending(user: User, run_id: str) -> list[str]:
    """List the promises of a run that wait; all their ids begin with its own."""
    found = await ask(user, "promise.search", {"state": "pending", "limit": 1000})
    return [each["id"] for each in found["promises"] if each["id"].startswith(run_id)]


async def test_a_workflow_runs_where_it_is_started(user: User) -> None:
    run_id = new_id("sum")

    assert await user("run", "sum", run_id, [5]) == 10
    assert await user("run", "sum", run_id, [5]) == 10  # found again, not run again

    steps = [line for line in user.notes() if line.startswith("step")]
    assert len(steps) == 5
    assert await pending(user, run_id) == []


async def test_a_function_is_called_in_another_process(user: User) -> None:
    await user.work()

    assert await user("rpc", "double", new_id("double"), [21]) == 42


async def test_a_workflow_calls_many_functions_at_once(user: User) -> None:
    for _ in range(2):
        await user.work()

    run_id = new_id("calls")
    assert await user("rpc", "calls", run_id, [12]) == [2 * i for i in range(12)]
    assert await pending(user, run_id) == []


async def test_workflows_call_workflows(user: User) -> None:
    await user.work()

    run_id = new_id("fibonacci")
    assert await user("rpc", "fibonacci", run_id, [6]) == 8
    assert await pending(user, run_id) == []


async def test_a_workflow_sleeps_and_is_woken(user: User) -> None:
    assert await user("run", "sleep", new_id("sleep"), [300]) == "slept"


async def test_a_workflow_waits_for_a_person(user: User) -> None:
    asking = user.start("run", "approval", new_id("approval"))
    _, promise_id = (await user.noted("asked")).split(" ")
    yes = base64.b64encode(json.dumps("yes").encode()).decode()

    value = {"headers": {}, "data": yes}
    await ask(user, "promise.settle", {"id": promise_id, "state": "resolved", "value": value})

    assert await user.result(asking) == "approved: yes"


async def test_what_a_workflow_raises_comes_to_its_caller(user: User) -> None:
    await user.work()

    assert "as asked" in json.dumps(await user("rpc", "failing", new_id("failing")))


async def test_what_is_detached_goes_on_by_itself(user: User) -> None:
    await user.work()

    run_id = new_id("parent")
    assert await user("rpc", "parent", run_id) == "gone on"
    async with asyncio.timeout(SECONDS_MAX):
        while await pending(user, run_id):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)


async def test_a_worker_that_is_killed_is_followed_by_another(user: User) -> None:
    """Steps that were recorded are not run again, and nothing waits for longer than a lease."""
    run_id = new_id("interrupted")
    first = await user.work()
    asking = user.start("rpc", "interrupted", run_id, [6])
    await _steps(user, 3)
    first.kill()
    first.communicate()

    await user.work()

    assert await user.result(asking) == list(range(6))
    numbers = [int(line.split(" ")[-1]) for line in user.notes() if line.startswith("step")]
    assert sorted(set(numbers)) == list(range(6))
    assert len(numbers) <= 7  # the one in hand may be run twice
    assert await pending(user, run_id) == []


async def _steps(user: User, count: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while sum(line.startswith("step") for line in user.notes()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_caller_that_is_killed_finds_the_result_later(user: User) -> None:
    await user.work()
    run_id = new_id("interrupted")
    asking = user.start("rpc", "interrupted", run_id, [3])
    await _steps(user, 1)
    asking.kill()

    assert await user("get", "-", run_id) == [0, 1, 2]


async def test_a_gateway_and_a_store_that_are_killed_cost_time_and_nothing_else(
    lone_user: User, own: System
) -> None:
    """Clients connect again by themselves, as far as they do."""
    await lone_user.work()
    run_id = new_id("interrupted")
    asking = lone_user.start("rpc", "interrupted", run_id, [8])
    for name in ("gateway", "store"):
        await _steps(lone_user, 2)
        os.kill(own.pids[name], signal.SIGKILL)
    await _answers(lone_user)
    asked = await lone_user("get", "-", run_id)

    assert asked == list(range(8))
    asking.kill()


async def _answers(user: User) -> None:
    """Wait for the bridge to be ready again: programs that start find it so, or end."""
    url = f"{user.url}/ready"
    async with asyncio.timeout(SECONDS_MAX), httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.05)


async def test_a_schedule_starts_runs(user: User) -> None:
    await user.work()
    schedule_id = new_id("nightly")

    assert await user("plan", "sum", schedule_id, [2]) == "planned"
    await _steps(user, 4)  # two occurrences
    assert await user("unplan", "-", schedule_id) == "deleted"

    found = await ask(user, "promise.search", {"tags": {"resonate:schedule": schedule_id}})
    runs = found["promises"]
    assert len(runs) >= 2
    assert all(run["id"].startswith(f"{schedule_id}-") for run in runs)
