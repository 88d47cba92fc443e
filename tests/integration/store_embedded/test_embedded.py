"""The in-process store as the library meets it."""

import asyncio
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from holdfast.core.membership import Member, TaskPush
from holdfast.core.records import Promise
from holdfast.core.requests import Done, PromiseCreate, PromiseGet, PromiseRegisterListener
from holdfast_store import embedded
from holdfast_store.embedded import EmbeddedStore, open_store
from holdfast_store.storage import StorageUnavailable

PATIENCE_S = 20


@dataclass
class Receiver:
    connected: int = 0
    tasks: "asyncio.Queue[TaskPush]" = field(default_factory=asyncio.Queue)

    def on_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def on_settled(self, promise: Promise) -> None: ...

    def on_connected(self) -> None:
        self.connected += 1

    def on_disconnected(self) -> None: ...


async def test_the_entry_points_open_the_in_process_store() -> None:
    found = {point.name: point.load() for point in entry_points(group="holdfast.stores")}

    assert found == {"memory": open_store, "sqlite": open_store}


async def test_chains_are_answered_and_tasks_pushed() -> None:
    store = EmbeddedStore("memory:")
    receiver = Receiver()
    await store.start(Member(pid="a", instance="i", groups=("w",), credits=1), receiver)
    tags = {"resonate:target": "poll://any@w"}

    answer = await store.submit([PromiseCreate(id="t", timeout_at_ms=2**52, tags=tags)])
    async with asyncio.timeout(PATIENCE_S):
        push = await receiver.tasks.get()
    await store.close()

    assert receiver.connected == 1
    assert isinstance(answer.outcomes[0], Done)
    assert push.task.id == "t"


async def test_what_was_queued_at_the_close_is_answered() -> None:
    store = EmbeddedStore("memory:")
    await store.start(Member(pid="a", instance="i"), Receiver())

    future = store.submit([PromiseGet(id="absent")])
    await store.close()

    assert future.done()


async def test_the_next_process_takes_over_at_once_what_a_dead_one_held(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/h.db"
    tags = {"resonate:target": "poll://any@w"}
    dead, heir = EmbeddedStore(url), EmbeddedStore(url)
    first, second = Receiver(), Receiver()
    await dead.start(Member(pid="a", instance="i", groups=("w",), credits=1), first)
    await dead.submit([PromiseCreate(id="t", timeout_at_ms=2**52, tags=tags)])
    async with asyncio.timeout(PATIENCE_S):
        await first.tasks.get()
    await dead.close()

    await heir.start(Member(pid="b", instance="j", groups=("w",), credits=1), second)
    async with asyncio.timeout(PATIENCE_S):
        push = await second.tasks.get()
    await heir.close()

    assert (push.task.pid, push.task.version) == ("b", 2)


async def test_a_file_has_one_owner(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/h.db"
    owner, other = EmbeddedStore(url), EmbeddedStore(url)
    await owner.start(Member(pid="a", instance="i"), Receiver())

    with pytest.raises(StorageUnavailable, match="another process has the database open"):
        await other.start(Member(pid="b", instance="j"), Receiver())

    await owner.close()
    await other.start(Member(pid="b", instance="j"), Receiver())
    await other.close()


async def test_timers_that_break_are_run_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect would otherwise leave every sleep of the process asleep, and nobody would know."""
    monkeypatch.setattr(embedded, "RESTART_PAUSE_S", 0.001)
    store = EmbeddedStore("memory:")
    told: asyncio.Queue[Promise] = asyncio.Queue()
    receiver = Receiver()
    monkeypatch.setattr(receiver, "on_settled", told.put_nowait)
    await store.start(Member(pid="a", instance="i", groups=("w",)), receiver)
    breaks = [ZeroDivisionError("defect")] * 3

    async def next_due_at_ms() -> int | None:
        if breaks:
            raise breaks.pop()
        return await store._storage.next_due_at_ms()

    monkeypatch.setattr(store.engine.background, "next_due_at_ms", next_due_at_ms)
    await store.submit(
        [
            PromiseCreate(
                id="sleep",
                timeout_at_ms=store.engine.now_ms() + 1_000,
                tags={"resonate:timer": "true"},
            ),
            PromiseRegisterListener(awaited="sleep", address="poll://uni@w/a"),
        ]
    )
    async with asyncio.timeout(10):
        settled = await told.get()
    await store.submit([PromiseGet(id="sleep")])
    await store.close()

    assert settled.id == "sleep"
    assert breaks == []
    assert [r.msg for r in caplog.records].count("timers_broke") == 3
