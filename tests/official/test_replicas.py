"""Users of each client, while stores, a gateway and workers are killed under them.

Three stores share a PostgreSQL database; workers and callers are spread over two gateways. Workers
are left to themselves. Callers ask again, which the official clients leave to their users: neither
repeats a call that was answered with 503, that for TypeScript not even one whose connection broke;
and a result that died with the process that was to tell it is asked for after a minute only.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from tests.official.programs import User
from tests.official.replicas import (
    SECONDS_MAX,
    Entry,
    Kill,
    Repeats,
    Replicas,
    killed_and_followed,
    summary,
)

TTL_MS = 5_000
"""Longer than a busy machine keeps a client from its heartbeats, short enough to wait for."""

WAVE_SECONDS_MAX = 180
YES = {"headers": {}, "data": base64.b64encode(json.dumps("yes").encode()).decode()}

STEPS = 3
ORDERS = 6


@pytest.fixture
def users(command: list[str], replicas: Replicas) -> Iterator[list[User]]:
    """Have two groups of workers, each at a gateway of its own, and callers."""
    places = zip(("makers", "checkers", "people"), itertools.cycle(replicas.system.bridges))
    users = [
        User(command, bridge, group, replicas.log, TTL_MS, WAVE_SECONDS_MAX)
        for group, bridge in places
    ]
    with closing(users[0]), closing(users[1]), closing(users[2]):
        yield users


def wave(number: int) -> list[tuple[list[Any], Any]]:
    """List calls (how, of whom, what, as which id, with what), each with its result."""
    doubles = [2 * i for i in range(STEPS)]
    ways = [("makers", "checkers"), ("checkers", "makers")]
    calls = [
        (["rpc", ways[k % 2][0], "order", f"order-{number}-{k}", [ways[k % 2][1], STEPS]], doubles)
        for k in range(ORDERS)
    ]
    return [
        *calls,
        (["run", "people", "order", f"own-{number}", ["makers", STEPS]], doubles),
        (["run", "people", "sum", f"sum-{number}", [3]], 3),
        (["rpc", "checkers", "calls", f"calls-{number}", [6]], [2 * i for i in range(6)]),
        (["rpc", "makers", "fibonacci", f"fibonacci-{number}", [5]], 5),
        (["rpc", "checkers", "sleep", f"sleep-{number}", [1500]], "slept"),
        (["rpc", "makers", "approval", f"approval-{number}", []], "approved: yes"),
    ]


async def storm(replicas: Replicas, makers: User, checkers: User) -> None:
    """Kill stores all the time; a worker of each group and a gateway in between."""
    await replicas.kill_stores(3)
    await killed_and_followed(replicas, makers)
    await replicas.kill_stores(2)
    await replicas.kill("gateway", spare=1)
    await replicas.kill_stores(2)
    await killed_and_followed(replicas, checkers)
    await replicas.kill_stores(2)


@asynccontextmanager
async def approving(replicas: Replicas) -> AsyncIterator[None]:
    """Say yes to whatever is asked, until the block ends."""

    async def approve() -> None:
        done: set[str] = set()
        while True:
            for promise_id in {line[1] for line in replicas.notes("asked")} - done:
                settle = {"id": promise_id, "state": "resolved", "value": YES}
                await replicas.ask("promise.settle", settle)
                done.add(promise_id)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(approve())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()


@pytest.mark.timeout(600)
async def test_kills_cost_time_and_nothing_else(
    replicas: Replicas, users: list[User], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every result is right, nothing is left over, and only kills make a step run twice."""
    makers, checkers, people = users
    for user in (makers, makers, checkers, checkers):
        await user.work()
    assert await makers("plan", "order", "nightly", ["checkers", 1]) == "planned"

    waves = 1
    async with approving(replicas):
        await _run(people, wave(0))  # in calm: nothing explains that a step runs twice
        killing = asyncio.create_task(storm(replicas, makers, checkers))
        while not killing.done():
            await _run(people, wave(waves))
            waves += 1
        await killing
    await replicas.healed()
    assert await makers("unplan", "-", "nightly") == "deleted"
    await _nothing_pending(replicas)

    checked = await asyncio.to_thread(replicas.check)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    occurrences = await _occurrences(replicas)
    entries = replicas.entries()
    assert len({entry.step for entry in entries}) == waves * (ORDERS + 1) * STEPS + occurrences
    repeats = Repeats.of(entries, replicas.kills)
    told = summary(
        replicas,
        workflows=waves * len(wave(0)) + occurrences,
        steps=len(entries),
        repeats=len(repeats.explained),
        asked_again=len(replicas.notes("again")),
    )
    with capsys.disabled():
        print(f"\n{people.command[-1].rpartition('/')[2]}: {told}")  # noqa: T201 - for the reader
    assert repeats.unexplained == []


def test_only_a_kill_explains_that_a_step_ran_twice() -> None:
    first, other, again = (
        Entry(("a", 0), at_ms=1_000_000),
        Entry(("a", 1), at_ms=1_000_000),
        Entry(("a", 0), at_ms=1_010_000),
    )
    entries = [first, other, again]

    for at_ms in (998_000, 1_000_500, 1_010_000):
        assert Repeats.of(entries, [Kill("store", "s", at_ms)]) == Repeats([again], [])
    for at_ms in (990_000, 1_010_001):
        assert Repeats.of(entries, [Kill("store", "s", at_ms)]) == Repeats([], [again])


async def _run(people: User, calls: list[tuple[list[Any], Any]]) -> None:
    results = await people("many", "-", "-", [call for call, _ in calls])
    assert results == [result for _, result in calls]


async def _nothing_pending(replicas: Replicas) -> None:
    left: list[str] = []
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while left := await replicas.pending():  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise AssertionError(f"these are left: {left}") from error


async def _occurrences(replicas: Replicas) -> int:
    """Count what the schedule started; all of it must have come to its end."""
    query = {"tags": {"resonate:schedule": "nightly"}, "limit": 1000}
    runs = (await replicas.ask("promise.search", query))["promises"]
    assert {run["state"] for run in runs} == {"resolved"}
    return len(runs)
