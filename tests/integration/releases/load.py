"""Load on whichever store is named, which loses nothing that was acknowledged."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count

from holdfast import errors
from holdfast.core.records import PromiseState
from holdfast.core.requests import Done, PromiseCreate, PromiseGet, PromiseSettle, Request
from holdfast.rpc import RemoteStore
from tests.integration.rpc.support import FAR_MS, Mailbox, member

AT_ONCE = 16
PATIENCE_S = 30.0


class Load:
    """Creates and settles promises for ever; a store that leaves is followed by the next one."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[BaseException] = []
        self._numbers = count()
        self._store: RemoteStore | None = None
        self._has_store = asyncio.Event()
        self._went_on = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def on(self, url: str) -> AsyncIterator[None]:
        """Work on a store from now on, until it is left."""
        store = RemoteStore(url)
        await store.start(member(groups=()), Mailbox())
        self._store = store
        self._has_store.set()
        try:
            yield
        finally:
            self._has_store.clear()
            self._store = None
            await store.close()

    async def goes_on(self, operations: int = 200) -> None:
        """Return when so many more were acknowledged."""
        wanted = len(self.acknowledged) + operations
        async with asyncio.timeout(PATIENCE_S), self._went_on:
            await self._went_on.wait_for(lambda: len(self.acknowledged) >= wanted)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work in the background."""
        workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            name = f"load-{next(self._numbers)}"
            chain: list[Request] = [
                PromiseCreate(id=name, timeout_at_ms=FAR_MS),
                PromiseSettle(id=name, state=PromiseState.RESOLVED),
            ]
            await self._until_acknowledged(chain)
            self.acknowledged.append(name)
            async with self._went_on:
                self._went_on.notify_all()

    async def _until_acknowledged(self, chain: list[Request]) -> None:
        while True:
            await self._has_store.wait()
            store = self._store
            assert store is not None
            try:
                answer = await store.submit(chain, timeout=PATIENCE_S)
            except errors.ResonateError as error:
                if store is self._store:
                    self.refused.append(error)
                continue
            assert all(isinstance(outcome, Done) for outcome in answer.outcomes)
            return


async def assert_all_there(url: str, ids: list[str]) -> None:
    """Read every promise from a store, which must know it as settled."""
    store = RemoteStore(url)
    await store.start(member(groups=()), Mailbox())
    try:
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            reads = [store.submit([PromiseGet(id=name)]) for name in some]
            for name, answer in zip(some, await asyncio.gather(*reads), strict=True):
                [outcome] = answer.outcomes
                assert isinstance(outcome, Done), name
                assert outcome.promise is not None
                assert outcome.promise.state is PromiseState.RESOLVED, name
    finally:
        await store.close()
