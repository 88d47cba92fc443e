"""What the engine does by itself, on a real database that refuses some of it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise, Value
from holdfast.core.requests import Done, PromiseCreate, Request
from holdfast_store import backlog as backlog_module
from holdfast_store import suspects as suspects_module
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.loops.timers import Timers
from holdfast_store.observer import NullObserver

PATIENCE_S = 20
TIMER = {"resonate:timer": "true"}
TARGET = {"resonate:target": "poll://any@w"}


class Watch(NullObserver):
    """Keeps what was set aside, and how many promises timed out."""

    def __init__(self) -> None:
        self.refused = 0
        self.set_aside = 0
        self.timeouts = 0

    def due_rows_set_aside(self, *, refused: int, now: int) -> None:
        self.refused += refused
        self.set_aside = now

    def steps_ran(self, *, kind: str, count: int) -> None:
        if kind == "promise_timeout":
            self.timeouts += count


class Inbox:
    """Where a member finds its tasks."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[TaskPush] = asyncio.Queue()

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None: ...


@asynccontextmanager
async def running(storage: SqliteStorage, watch: Watch, **settings: int) -> AsyncIterator[Engine]:
    engine = Engine(storage, settings=EngineSettings(**settings), observer=watch)
    await engine.start()
    timers = Timers(engine, storage, observer=watch, slow_poll_s=3600)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(timers.run())
        yield engine
        loop.cancel()
    await engine.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a thread of the database brings it about
            await asyncio.sleep(0.01)


def execute(path: Path, text: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        return connection.execute(text).fetchall()


def refuse(path: Path, promise_id: str) -> None:
    """Make the database refuse every change of one promise, as a broken index or rule would."""
    execute(
        path,
        f"CREATE TRIGGER refuse BEFORE UPDATE ON promises WHEN NEW.id = '{promise_id}'"
        " BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )


async def created(engine: Engine, *requests: Request) -> None:
    outcomes = await engine.apply(*requests)
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes


async def test_a_row_that_the_database_refuses_delays_no_later_one(
    sqlite: SqliteStorage, sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first one due, and many more are due than one sweep takes."""
    monkeypatch.setattr(suspects_module, "PAUSE_S_MIN", 0.05)
    watch = Watch()
    async with running(sqlite, watch, due_max=5) as engine:
        refuse(sqlite_file, "due00")
        soon_ms = engine.now_ms() + 200
        timers = [
            PromiseCreate(id=f"due{n:02}", timeout_at_ms=soon_ms + n, tags=TIMER) for n in range(40)
        ]
        await created(engine, *timers)  # at once: on a busy machine that takes its time

        await until(lambda: watch.timeouts == 39)
        await until(lambda: watch.set_aside == 1 and watch.refused >= 2)
        pending = execute(sqlite_file, "SELECT id FROM promises WHERE state = 'pending'")
        execute(sqlite_file, "DROP TRIGGER refuse")
        await until(lambda: watch.set_aside == 0)

    assert pending == [("due00",)]
    assert watch.timeouts == 40
    assert execute(sqlite_file, "SELECT id FROM promises WHERE state = 'pending'") == []


async def test_timers_that_come_while_a_row_is_set_aside_are_in_time(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    """The refused row stays the earliest that is due; the timers must see past it."""
    watch = Watch()
    async with running(sqlite, watch) as engine:
        await created(
            engine,
            PromiseCreate(id="due", timeout_at_ms=engine.now_ms() + 50, tags=TIMER),
        )
        refuse(sqlite_file, "due")
        await until(lambda: watch.set_aside == 1)
        statements: list[str] = []
        sqlite.on_statement = statements.append

        await created(
            engine,
            PromiseCreate(id="later", timeout_at_ms=engine.now_ms() + 300, tags=TIMER),
        )
        await until(lambda: watch.timeouts == 1)
        sqlite.on_statement = None

    assert execute(sqlite_file, "SELECT state FROM promises WHERE id = 'later'") == [("resolved",)]
    assert len(statements) < 100, "nothing spins on a row that is due and set aside"


async def test_a_row_that_cannot_be_read_delays_no_later_one(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    watch = Watch()
    async with running(sqlite, watch) as engine:
        now_ms = engine.now_ms()
        for n in range(3):
            await created(
                engine, PromiseCreate(id=f"p{n}", timeout_at_ms=now_ms + 500 + n, tags=TIMER)
            )
        execute(sqlite_file, "UPDATE promises SET tags = '{' WHERE id = 'p0'")

        await until(lambda: watch.timeouts == 2)
        await until(lambda: watch.set_aside == 1)

    assert execute(sqlite_file, "SELECT id FROM promises WHERE state = 'pending'") == [("p0",)]


async def test_a_task_is_found_behind_any_number_that_nobody_can_take(
    sqlite: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "LOOK_MAX", 16)
    async with running(sqlite, Watch()) as engine:
        for start in range(0, 500, 100):
            await created(
                engine, *(for_function(f"t{n:03}", "unknown") for n in range(start, start + 100))
            )
        await created(engine, for_function("wanted", "f"))
        inbox = Inbox()

        engine.connect(
            Member(
                pid="a",
                instance="i",
                groups=("w",),
                credits=1,
                lease_ttl_ms=60_000,
                functions=frozenset({"f"}),
            ),
            inbox,
        )

        async with asyncio.timeout(PATIENCE_S):
            push = await inbox.tasks.get()
        assert push.task.id == "wanted"


def for_function(promise_id: str, func: str) -> Request:
    return PromiseCreate(
        id=promise_id,
        timeout_at_ms=2**50,
        tags=TARGET,
        param=Value(headers={"holdfast-func": func}),
    )
