"""The server crashes while a store writes: answers keep their word."""

import asyncio
from collections import Counter
from functools import partial
from itertools import count

import pytest

from holdfast.core.requests import Done, PromiseCreate, Refusal
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine
from holdfast_store.observer import NullObserver
from tests.integration.kill.processes import until
from tests.integration.postgres import Server, query

CRASHES = 5
WRITERS = 8


class Noticed(NullObserver):
    """Counts the batches that failed, by why, whether or not they were repeated."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    def batch_failed(self, *, kind: str) -> None:
        self.failures[kind] += 1


@pytest.mark.timeout(180)
async def test_what_was_answered_is_there_and_what_was_refused_is_not(own_server: Server) -> None:
    url = own_server.create_database()
    storage = PostgresStorage(url)
    await storage.open()
    noticed = Noticed()
    engine = Engine(storage, clock=storage.clock, observer=noticed)
    await engine.start()
    deadline_ms = engine.now_ms() + 3_600_000
    answers: dict[str, str] = {}
    crashing = True

    async def write(writer: int) -> None:
        for number in count():
            if not crashing:
                return
            promise_id = f"{writer}.{number}"
            [outcome] = await engine.apply(PromiseCreate(id=promise_id, timeout_at_ms=deadline_ms))
            if isinstance(outcome, Done):
                answers[promise_id] = "done"
            else:
                assert isinstance(outcome, Refusal)
                answers[promise_id] = outcome.code
                await asyncio.sleep(0.01)

    async def crash() -> None:
        for _ in range(CRASHES):
            wanted = list(answers.values()).count("done") + 50
            more = partial(lambda wanted: list(answers.values()).count("done") >= wanted, wanted)
            await asyncio.to_thread(until, more, "more promises were written")
            await asyncio.to_thread(own_server.crash)
            own_server.start()  # from this thread, with which it is to end

    async with asyncio.TaskGroup() as group:
        crasher = group.create_task(crash())
        for writer in range(WRITERS):
            group.create_task(write(writer))
        await crasher
        crashing = False
    await engine.stop()
    await storage.close()

    stored = {promise_id for (promise_id,) in query(url, "SELECT id FROM promises")}
    done = {i for i, answer in answers.items() if answer == "done"}
    refused = {i for i, answer in answers.items() if answer == "database_unavailable"}
    assert done - stored == set(), "acknowledged and not there"
    assert refused & stored == set(), "refused and there"
    assert noticed.failures, "a crash that nobody noticed shows nothing"
    assert set(answers.values()) <= {
        "done",
        "database_unavailable",
        "outcome_unknown",
        "contention",
    }
