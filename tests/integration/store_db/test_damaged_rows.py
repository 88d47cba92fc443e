"""A waiting task whose row is damaged keeps no other of its group from its worker."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from holdfast.core.membership import Member
from holdfast.core.records import TARGET
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseRegisterCallback,
    Refusal,
    TaskGet,
)
from holdfast_store import asides as asides_module
from holdfast_store import backlog as backlog_module
from holdfast_store.engine import Engine
from holdfast_store.storage import Storage
from tests.given import Inbox

FAR_MS = 2**50

Execute = Callable[[str], None]

TAGS_CUT_OFF = "UPDATE promises SET tags = '{{' WHERE id = '{0}'"
NO_SUCH_STATE = "UPDATE promises SET state = 'eaten' WHERE id = '{0}'"
NO_SUCH_WAIT_MODE = "UPDATE tasks SET wait_mode = 'eaten' WHERE id = '{0}'"
DAMAGES = [TAGS_CUT_OFF, NO_SUCH_STATE, NO_SUCH_WAIT_MODE]
NO_TEXT = "UPDATE promises SET tags = CAST(x'ff' AS TEXT) WHERE id = '{0}'"
"""What only a file holds: a server looks at what it is given."""
MENDED = "UPDATE promises SET tags = '{{\"resonate:target\":\"poll://any@w\"}}' WHERE id = '{0}'"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asides_module, "PAUSE_S_MIN", 0.05)


@pytest.fixture
def in_file(sqlite_file: Path) -> Execute:
    """Change a SQLite file behind the store's back."""

    def execute(text: str) -> None:
        with closing(sqlite3.connect(sqlite_file, isolation_level=None, timeout=10)) as connection:
            assert connection.execute(text).rowcount == 1

    return execute


@pytest.fixture
def at_server(postgres_url: str) -> Execute:
    """Change a PostgreSQL database behind the store's back."""

    def execute(text: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            assert connection.execute(text.encode()).rowcount == 1

    return execute


@pytest.fixture(params=["sqlite", "postgres"])
def damaged(request: pytest.FixtureRequest) -> tuple[Storage, Execute]:
    """Take a database, and a way to damage it."""
    way = {"sqlite": "in_file", "postgres": "at_server"}[request.param]
    return request.getfixturevalue(request.param), request.getfixturevalue(way)


@asynccontextmanager
async def queued(storage: Storage, count: int) -> AsyncIterator[Engine]:
    """Run an engine with so many waiting tasks."""
    engine = Engine(storage)
    await engine.start()
    for number in range(count):
        await engine.apply(waiting(f"t{number}"))
    yield engine
    await engine.stop()


def waiting(promise_id: str) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS, tags={TARGET: "poll://any@w"})


def worker(credits: int) -> Member:
    return Member(pid="w", instance="i", groups=("w",), credits=credits, lease_ttl_ms=60_000)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_everything_but_the_damaged_is_given_out(
    damaged: tuple[Storage, Execute], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest and two in the midst are damaged; a look reaches over four tasks at most."""
    monkeypatch.setattr(backlog_module, "LOOK_MAX", 4)
    storage, execute = damaged
    async with queued(storage, 9) as engine:
        for task_id in ("t0", "t4", "t5"):
            execute(damage.format(task_id))
        inbox = Inbox()
        engine.connect(worker(credits=20), inbox)

        assert await inbox.get(6) == {"t1", "t2", "t3", "t6", "t7", "t8"}


async def test_what_is_no_text_in_a_file_is_damage_and_whoever_asks_for_it_learns_so(
    sqlite: Storage, in_file: Execute
) -> None:
    async with queued(sqlite, 20) as engine:
        in_file(NO_TEXT.format("t7"))
        inbox = Inbox()
        engine.connect(worker(credits=30), inbox)

        assert await inbox.get(19) == {f"t{n}" for n in range(20) if n != 7}
        [refusal, other] = [(await engine.apply(TaskGet(id=each)))[0] for each in ("t7", "t8")]

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (500, "rejected_by_database")
    assert "'t7' cannot be read" in refusal.message
    assert isinstance(other, Done)


async def test_a_task_whose_row_was_mended_is_given_out(
    damaged: tuple[Storage, Execute],
) -> None:
    storage, execute = damaged
    async with queued(storage, 2) as engine:
        execute(TAGS_CUT_OFF.format("t0"))
        inbox = Inbox()
        engine.connect(worker(credits=5), inbox)
        first = await inbox.get(1)

        execute(MENDED.format("t0"))

        assert first == {"t1"}
        assert await inbox.get(1) == {"t0"}


async def test_who_waits_for_a_damaged_task_is_left_alone_with_it(
    damaged: tuple[Storage, Execute],
) -> None:
    """What a task would wake when it ends is loaded with it: it cannot end without."""
    storage, execute = damaged
    async with queued(storage, 4) as engine:
        callback = PromiseRegisterCallback(awaited="t1", awaiter="t3")
        assert isinstance((await engine.apply(callback))[0], Done)
        execute(TAGS_CUT_OFF.format("t3"))
        inbox = Inbox()
        engine.connect(worker(credits=5), inbox)

        assert await inbox.get(2) == {"t0", "t2"}


async def test_a_worker_that_holds_a_damaged_task_is_given_others_when_it_returns(
    damaged: tuple[Storage, Execute],
) -> None:
    storage, execute = damaged
    async with queued(storage, 1) as engine:
        inbox = Inbox()
        session = engine.connect(worker(credits=1), inbox)
        assert await inbox.get(1) == {"t0"}
        execute(TAGS_CUT_OFF.format("t0"))
        session.close(peer_closed=True)

        # It says that it holds nothing, and is given tasks once its leases are judged by that.
        engine.connect(replace(worker(credits=2), instance="j", held=frozenset()), inbox)
        await engine.apply(waiting("t1"))

        assert await inbox.get(1) == {"t1"}
