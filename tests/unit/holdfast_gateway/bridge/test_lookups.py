"""Lookups of host names: few at a time, one for a name, and never in the loop's own pool."""

import asyncio
import threading
from collections import Counter

import pytest

from holdfast_gateway.bridge.lookups import Lookups
from holdfast_gateway.bridge.posting import HttpPost, PostLimits
from holdfast_gateway.bridge.pushing import Refused
from holdfast_gateway.bridge.targets import Rules


class Names:
    """A resolver that hangs for names in `.hangs` until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: Counter[str] = Counter()

    def __call__(self, host: str) -> list[str]:
        self.asked[host] += 1
        if host.endswith(".hangs"):
            self.go.wait()
        if host.endswith(".missing"):
            raise OSError(2, "no such name")
        return ["10.0.0.1"]


@pytest.fixture
def names() -> Names:
    return Names()


async def begun(names: Names, count: int) -> None:
    while len(names.asked) < count:  # noqa: ASYNC110 - in threads
        await asyncio.sleep(0)


async def test_a_name_that_hangs_takes_one_thread_however_many_ask(names: Names) -> None:
    lookups = Lookups(names, most=2)
    asking = [asyncio.create_task(lookups("a.hangs")) for _ in range(20)]
    await begun(names, 1)

    assert await lookups("b") == ["10.0.0.1"]

    names.go.set()
    assert await asyncio.gather(*asking) == [["10.0.0.1"]] * 20
    assert names.asked == {"a.hangs": 1, "b": 1}


async def test_no_more_names_are_asked_for_than_there_are_threads(names: Names) -> None:
    lookups = Lookups(names, most=2)
    hanging = [asyncio.create_task(lookups(f"{index}.hangs")) for index in range(5)]
    await begun(names, 2)
    waiting = asyncio.create_task(lookups("b"))
    await asyncio.wait({waiting}, timeout=0)

    assert len(names.asked) == 2
    assert await asyncio.to_thread(lambda: "free") == "free"
    assert await lookups("127.0.0.1") == ["127.0.0.1"]

    names.go.set()
    assert await waiting == ["10.0.0.1"]
    await asyncio.gather(*hanging)


async def test_who_waits_no_longer_makes_room_for_others(names: Names) -> None:
    lookups = Lookups(names, most=1)
    gone = [asyncio.create_task(lookups(host)) for host in ("a.hangs", "b.hangs")]
    await begun(names, 1)
    for each in gone:
        each.cancel()
    await asyncio.gather(*gone, return_exceptions=True)

    names.go.set()

    assert await lookups("c") == ["10.0.0.1"]
    assert names.asked == {"a.hangs": 1, "c": 1}


async def test_a_name_that_is_missing_is_an_error_each_time(names: Names) -> None:
    lookups = Lookups(names)

    for _ in range(2):
        with pytest.raises(OSError, match="no such name"):
            await lookups("a.missing")


async def test_a_system_without_threads_to_spare_is_an_error_and_no_more(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = Lookups(names, most=1)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start"):
            await lookups("a")

    assert await lookups("a") == ["10.0.0.1"]


async def test_a_message_waits_for_a_name_as_long_as_for_a_connection(names: Names) -> None:
    limits = PostLimits(
        connect_seconds=0.01, total_seconds=60, connections_max=1, allow=Rules(), deny=Rules()
    )
    async with HttpPost(limits, lookups=Lookups(names, most=1)) as post:
        for host in ("a.hangs", "b"):
            with pytest.raises(Refused, match=f"{host} was not found in time"):
                await post(f"http://{host}/", b"{}")
    names.go.set()
