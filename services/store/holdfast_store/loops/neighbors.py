"""Work together with the other stores on the database: tell, hear, and repair what was missed.

Messages make it fast. What they leave out is looked for at a slow pace, and once a second while
none can be heard.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast_chassis.logs import get_logger
from holdfast_store import replicas
from holdfast_store.engine import Engine
from holdfast_store.replicas import LAPSED_MS, SharedStorage
from holdfast_store.storage import Storage, StorageError
from holdfast_store.wakeups import News

log = get_logger(__name__)

EXCHANGE_S_MIN: Final = 1.0
EXCHANGE_S_MAX: Final = 3.0
"""How often a store says what its groups have: when that changed, and at least."""

OFTEN_S: Final = 1.0
"""Pause between looks at everything while messages may be missing."""

LOOK_PAUSE_S: Final = 0.05
"""Least pause between two looks, whoever asks for them."""

DEPART_S: Final = 2.0
"""How long taking leave may take; without it the others believe in this store for a while."""

SETTLING_S: Final = 5.0
"""How long messages may be missing after they are heard again: a store that believed to be alone
tells nobody, until it has heard of this one or read its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighborhood:
    """What is to be counted of it."""

    stores: int
    """Other stores that are alive."""
    is_listening: bool
    is_settling: bool
    told: int
    heard: int
    looks: int


class Neighbors:
    """The loop; it also says whether there are other stores at all.

    A store that is alone tells nobody, and looks at nothing twice. Until it knows, it is not alone.
    """

    def __init__(
        self, engine: Engine, storage: Storage, shared: SharedStorage, *, slow_poll_s: float
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._shared = shared
        self._wakeups = shared.wakeups()
        self._slow_poll_s = slow_poll_s
        self._stores = 0
        self._told = self._heard = self._looks = 0
        self._heard_at: float | None = None
        self._settled_at = 0.0
        self._is_calm = False
        self._is_bereft = False
        self._everything = asyncio.Event()
        engine.has_neighbors = True
        engine.on_news = self._tell

    def status(self) -> Neighborhood:
        """Say how it goes."""
        return Neighborhood(
            stores=self._stores,
            is_listening=self._wakeups.is_up,
            is_settling=not self._is_calm,
            told=self._told,
            heard=self._heard,
            looks=self._looks,
        )

    async def run(self) -> None:
        """Run until cancelled, and take leave."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._wakeups.run(self._hear), name="wakeups")
                group.create_task(self._exchange_often(), name="exchange")
                group.create_task(self._look_often(), name="look")
        finally:
            await self._depart()

    # Messages

    def _tell(self, news: News) -> None:
        self._told += 1
        self._wakeups.tell(news)

    def _hear(self, news: News) -> None:
        loop = asyncio.get_running_loop()
        if news.everything:
            self._settled_at = loop.time() + SETTLING_S
            self._everything.set()
        else:
            self._heard_at = loop.time()
            self._engine.has_neighbors = True
            self._heard += 1
            self._engine.hear(news)

    # Numbers

    async def _exchange_often(self) -> None:
        loop = asyncio.get_running_loop()
        said, say_again_at = "", 0.0
        is_lost = False
        while True:
            shares = replicas.written(self._engine.shares())
            if shares != said or loop.time() >= say_again_at:
                try:
                    self._learn(await self._shared.exchange(shares))
                except StorageError as error:
                    if not is_lost:
                        log.warning("replicas_not_read", error=str(error))
                    is_lost = True
                else:
                    is_lost = False
                    said, say_again_at = shares, loop.time() + EXCHANGE_S_MAX
            await asyncio.sleep(EXCHANGE_S_MIN)

    def _learn(self, told: Sequence[str]) -> None:
        now = asyncio.get_running_loop().time()
        heard_lately = self._heard_at is not None and now - self._heard_at < LAPSED_MS / 1000
        if len(told) != self._stores:
            log.info("replicas_changed", others=len(told))
        if len(told) < self._stores:
            # Whoever died may have committed what it had no time to tell of.
            self._is_bereft = True
            self._everything.set()
        self._stores = len(told)
        self._engine.has_neighbors = bool(told) or heard_lately
        self._engine.statistics.learn(replicas.total([replicas.read(each) for each in told]))

    async def _depart(self) -> None:
        try:
            async with asyncio.timeout(DEPART_S):
                await self._shared.depart()
        except (StorageError, TimeoutError) as error:
            log.warning("replica_not_removed", error=str(error))

    # Repair

    async def _look_often(self) -> None:
        while True:
            await self._sleep()
            self._everything.clear()
            if not (self._engine.has_neighbors or self._is_bereft):
                continue
            self._is_bereft = False
            self._looks += 1
            try:
                groups = await self._storage.queued_groups()
            except StorageError as error:
                log.warning("queues_not_looked_at", error=str(error))
                continue
            self._engine.hear(News(groups=groups, everything=True))
            await asyncio.sleep(LOOK_PAUSE_S)

    @property
    def _is_settling(self) -> bool:
        """Whether messages may be missing."""
        now = asyncio.get_running_loop().time()
        return not self._wakeups.is_up or now < self._settled_at

    async def _sleep(self) -> None:
        self._is_calm = not self._is_settling
        pause_s = self._slow_poll_s if self._is_calm else min(OFTEN_S, self._slow_poll_s)
        try:
            async with asyncio.timeout(pause_s):
                await self._everything.wait()
        except TimeoutError:
            return
