"""Wake-ups over a real PostgreSQL: heard, lost with their connection, and heard again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast_store.db.postgres import wakeups as module
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.postgres.wakeups import PostgresWakeups
from holdfast_store.wakeups import EVERYTHING, NO_NEWS, News
from tests.integration.postgres import query

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE query LIKE '%pg_notify%' AND pid <> pg_backend_pid()"
    " AND datname = current_database()"
)


class Ear:
    """What one store hears."""

    def __init__(self) -> None:
        self.heard: list[News] = []

    def __call__(self, news: News) -> None:
        self.heard.append(news)

    @property
    def told(self) -> News:
        """Everything that was told by name."""
        told = NO_NEWS
        for news in self.heard:
            if not news.everything:
                told |= news
        return told


@asynccontextmanager
async def running(
    url: str, *names: str, connector: Connector | None = None, keepalive_s: float = 5.0
) -> AsyncIterator[list[tuple[PostgresWakeups, Ear]]]:
    """Run the ways of some stores, each heard by its ear."""
    ways = [
        PostgresWakeups(
            connector or Connector(url, bounds=Bounds()), store=name, keepalive_s=keepalive_s
        )
        for name in names
    ]
    ears = [Ear() for _ in ways]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(w.run(ear)) for w, ear in zip(ways, ears, strict=True)]
        yield list(zip(ways, ears, strict=True))
        for task in tasks:
            task.cancel()


async def until(look: Callable[[], object]) -> None:
    while True:
        if look():
            return
        await asyncio.sleep(0.01)


def news(*groups: str) -> News:
    return News(groups=frozenset(groups))


async def test_others_hear_what_one_tells_and_it_does_not_hear_itself(postgres_url: str) -> None:
    async with running(postgres_url, "a", "b", "c") as [(a, first), (b, second), (c, third)]:
        await until(lambda: a.is_up and b.is_up and c.is_up)
        told = News(
            groups=frozenset({"ü", "組" * 300}),
            addresses=frozenset({"poll://uni@'g'/\\\U0001f980"}),
        )
        a.tell(told)
        await until(lambda: second.told == third.told == told)

    assert first.told == NO_NEWS


async def test_what_comes_together_leaves_together(postgres_url: str) -> None:
    async with running(postgres_url, "a", "b") as [(a, _), (b, ear)]:
        await until(lambda: a.is_up and b.is_up)
        for n in range(500):
            a.tell(news(f"g{n}"))
        await until(lambda: len(ear.told.groups) == 500)

    assert len([n for n in ear.heard if n]) <= 3, "everything at the start, and one or two messages"


async def test_what_is_too_long_becomes_a_look_at_everything(postgres_url: str) -> None:
    async with running(postgres_url, "a", "b") as [(a, _), (b, ear)]:
        await until(lambda: a.is_up and b.is_up)
        ear.heard.clear()
        a.tell(news(*(str(n) * 1_024 for n in range(9))))
        await until(lambda: EVERYTHING in ear.heard)


async def test_a_connection_that_ends_is_made_again_and_nothing_told_meanwhile_is_lost(
    postgres_url: str,
) -> None:
    async with running(postgres_url, "a", "b") as [(a, _), (b, ear)]:
        for turn in range(3):
            await until(lambda: a.is_up and b.is_up)
            ear.heard.clear()
            cut = await asyncio.to_thread(query, postgres_url, CUT)
            assert len(cut) == 2
            a.tell(news(f"g{turn}"))
            await until(lambda: EVERYTHING in ear.heard and a.is_up)
            a.tell(news("after"))
            await until(lambda: "after" in ear.told.groups or ear.heard.count(EVERYTHING) > 1)


class Deaf:
    """A connection that hears nothing, as through a proxy that shares connections."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def add_listener(self, channel: str, callback: object) -> None:
        """Lose it."""


class DeafAtFirst(Connector):
    """Connects so that the first connections hear nothing."""

    deaf = 2

    async def connect(self) -> Any:
        connection = await super().connect()
        if self.deaf > 0:
            self.deaf -= 1
            return Deaf(connection)
        return connection


async def test_a_connection_that_hears_nothing_is_given_up(postgres_url: str) -> None:
    connector = DeafAtFirst(postgres_url, bounds=Bounds())
    async with running(postgres_url, "a", connector=connector, keepalive_s=0.1) as [(a, ear)]:
        await until(lambda: ear.heard)
        assert (connector.deaf, a.is_up) == (0, True), "it says so once it has heard itself"


class StuckAtFirst(Connector):
    """Connects so that the first connection answers nothing from its second message on."""

    stuck = 1

    async def connect(self) -> Any:
        connection = await super().connect()
        self.stuck -= 1
        return Stuck(connection) if self.stuck == 0 else connection


class Stuck(Deaf):
    """A connection whose other end is gone without a word."""

    _messages = 0

    async def add_listener(self, channel: str, callback: object) -> None:
        """Hear what there is."""
        await self._connection.add_listener(channel, callback)

    async def execute(self, text: str, *parameters: object) -> str:
        """Wait for an answer that never comes."""
        self._messages += "pg_notify" in text
        if self._messages > 1:
            await asyncio.Event().wait()
        return str(await self._connection.execute(text, *parameters))


async def test_a_connection_without_answers_is_given_up_with_nothing_lost(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    connector = StuckAtFirst(postgres_url, bounds=Bounds())
    async with (
        running(postgres_url, "b") as [(b, ear)],
        running(postgres_url, "a", connector=connector) as [(a, _)],
    ):
        await until(lambda: a.is_up and b.is_up)
        a.tell(news("g"))
        await until(lambda: ear.told.groups == {"g"})
        assert connector.stuck < 0, "on another connection"
