"""Any bytes at any door of a real store: a clear refusal, no leak, and it serves the others."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from holdfast.v1 import promises_pb2, workers_pb2
from tests.fuzz.rpc.attack import Attack
from tests.fuzz.rpc.doors import doors
from tests.integration.faults.processes import MEBIBYTE, Store, running

SECONDS: Final = float(os.environ.get("FUZZ_SECONDS", "6"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))
ATTACKERS: Final = 4
ROUNDS_MIN: Final = 50
MEMORY_MAX: Final = 48 * MEBIBYTE
DESCRIPTORS_MAX: Final = 4
CORPUS: Final = Path(__file__).with_name("corpus.txt")

pytestmark = pytest.mark.timeout(SECONDS * 3 + 120)


def _corpus() -> Iterator[tuple[str, list[bytes]]]:
    for line in CORPUS.read_text().splitlines():
        if line and not line.startswith("#"):
            door, messages, _what = (part.strip() for part in line.split("|"))
            yield door, [bytes.fromhex(each) for each in messages.split(",")]


async def _serves(store: Store) -> None:
    """Make a promise and read it, over a connection of its own."""
    name = "/holdfast.v1.Promises"
    async with store.channel() as channel:
        create = promises_pb2.PromisesCreateRequest(id="after", timeout_at_ms=2**50)
        response = promises_pb2.PromisesCreateResponse.FromString(
            await channel.unary_unary(f"{name}/Create")(create.SerializeToString())  # type: ignore[arg-type]
        )
    assert response.promise.id == "after"


async def _settled_down(store: Store, descriptors: int) -> int:
    """Answer how many descriptors stay open once the kernel has closed what was left."""
    async with asyncio.timeout(30):
        while store.descriptors() > descriptors:  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.1)
    return store.descriptors()


async def _attack(store: Store, seed: int, seconds: float) -> list[Attack]:
    """Attack from several connections at once."""
    attacks = []
    until_s = time.monotonic() + seconds

    async def one(number: int) -> None:
        async with store.channel() as channel:
            attack = Attack(channel, random.Random(seed + number))
            attacks.append(attack)
            await attack.run(until_s=until_s, rounds=ROUNDS_MIN)

    async with asyncio.TaskGroup() as group:
        for number in range(ATTACKERS):
            group.create_task(one(number))
    return attacks


def test_the_corpus_names_doors_that_are_there() -> None:
    names = {door.name for door in doors()}

    assert {door for door, _ in _corpus()} <= names
    assert len(names) >= 20


async def test_the_corpus_is_refused_or_answered(tmp_path: Path) -> None:
    by_name = {door.name: door for door in doors()}
    async with running(tmp_path) as store, store.channel() as channel:
        attack = Attack(channel, random.Random(0))
        for name, messages in _corpus():
            if by_name[name].streams_in:
                await attack.stream(messages)
            else:
                await attack.call(by_name[name], messages[0])
        await _serves(store)

    assert attack.flaws == []
    assert attack.counts["INVALID_ARGUMENT"] > 10
    assert sum(n for name, n in attack.counts.items() if name.startswith("Connect")) > 5


async def test_a_stream_that_is_spoiled_at_once_ends_each_time(tmp_path: Path) -> None:
    """Its end is decided while the welcome is being written, which must not cost it its status."""
    hello = workers_pb2.Hello(pid="p", instance_id="i")
    first = workers_pb2.ConnectRequest(hello=hello).SerializeToString()
    async with running(tmp_path) as store, store.channel() as channel:
        attack = Attack(channel, random.Random(0))
        for _ in range(200):
            await attack.stream([first, b"\xff\xff\xff\xff"])

    assert attack.flaws == []
    assert sum(attack.counts.values()) == 200


@pytest.mark.parametrize("debug", ["0", "1"])
async def test_any_bytes_are_refused_or_answered_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], debug: str
) -> None:
    async with running(tmp_path, debug=debug) as store:
        warmed = await _attack(store, SEED, SECONDS / 4)
        descriptors = await _settled_down(store, store.descriptors())
        memory = store.memory()

        attacks = await _attack(store, SEED + ATTACKERS, SECONDS)

        left = await _settled_down(store, descriptors + DESCRIPTORS_MAX)
        grown = store.memory() - memory
        await _serves(store)

    counts = sum((attack.counts for attack in attacks[1:]), attacks[0].counts)
    with capsys.disabled():
        ends = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        took = f"memory {grown / MEBIBYTE:+.1f} MiB"
        print(f"\nfuzzed from seed {SEED}, debug {debug}: {ends}; {took}")  # noqa: T201
    assert [flaw for attack in (*warmed, *attacks) for flaw in attack.flaws] == []
    assert counts["OK"] > 20, "some of it is good enough to be carried out"
    assert counts["INVALID_ARGUMENT"] > 20
    assert counts["result 200"] > 10
    assert left <= descriptors + DESCRIPTORS_MAX
    assert grown < MEMORY_MAX
