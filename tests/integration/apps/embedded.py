"""Puts the applications together in one process, as a program with an embedded store would."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
from litestar.types import ASGIApp
from sqlalchemy import Engine, Table, select

from holdfast import PromiseNotFound, Resonate
from holdfast_db import functions
from holdfast_db.database import migrate, open_database
from holdfast_db.outside import DEPENDENCY as DB_OUTSIDE
from holdfast_gateway.app import create_app
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.routes.shop import resolve_cancel
from holdfast_gateway.settings import GatewaySettings
from holdfast_worker.apps import async_api, jobs, orders, reports, shop, shop_bus
from holdfast_worker.outside import DEPENDENCY as OUTSIDE
from tests.integration.apps.world import World

SECONDS_MAX = 60  # for a workflow to end; far more than any needs, on a busy machine too


def client_of(app: Any) -> httpx.AsyncClient:
    """Make an HTTP client of an application in this process."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


class System:
    """Gateway, worker and db worker around one client; the store and the database are files.

    `restart` stops everything and starts it anew on the same files.
    """

    def __init__(
        self,
        directory: Path,
        world: World,
        *,
        settings: GatewaySettings | None = None,
        application_url: str | None = None,
        register: Callable[[Resonate], None] = lambda _: None,
        shop: Literal["durable", "bus"] = "durable",
    ) -> None:
        self._directory = directory
        self._application_url = application_url or f"sqlite:///{directory}/app.db"
        self.world = world
        self._settings = settings or GatewaySettings()
        self._register = register
        self.shop = shop
        self._stack = AsyncExitStack()
        self.resonate: Resonate
        self.engine: Engine
        self.http: httpx.AsyncClient
        self.app: ASGIApp
        self.bus: shop_bus.CancelBus

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def restart(
        self, *, group: str = "workers", groups: tuple[str, ...] = ("worker", "db")
    ) -> None:
        await self._stack.aclose()
        await self._start(group=group, groups=groups)

    async def _start(
        self, *, group: str = "workers", groups: tuple[str, ...] = ("worker", "db")
    ) -> None:
        self.engine = open_database(self._application_url)
        self._stack.callback(self.engine.dispose)
        migrate(self.engine)
        self.resonate = Resonate(
            group=group, groups=groups, embedded=self._directory / "store.db", env={}
        )
        self.resonate.set_dependency(OUTSIDE, self.world)
        self.resonate.set_dependency(DB_OUTSIDE, self.world)
        self.resonate.set_dependency(functions.DATABASE, self.engine)
        bus = self.bus = shop_bus.CancelBus()
        self.resonate.set_dependency(shop_bus.BUS, bus)
        the_shop = shop_bus if self.shop == "bus" else shop
        for module in (orders, jobs, reports, async_api, the_shop, functions):
            module.register(self.resonate)
        self._register(self.resonate)
        await self.resonate.start()
        self._stack.push_async_callback(self.resonate.stop, 5.0)

        async def tell_bus(_: Gateway, key: str) -> None:
            bus.cancel(key)

        cancel = tell_bus if self.shop == "bus" else resolve_cancel
        self.app = create_app(self._settings, self.resonate, cancel_checkout=cancel)
        self.http = client_of(self.app)
        await self._stack.enter_async_context(self.http)

    async def outcome(self, promise_id: str) -> object:
        """Wait for the end of a workflow; return its value or the exception it ended with."""
        handle = await self.resonate.get(promise_id)
        async with asyncio.timeout(SECONDS_MAX):
            ended = await asyncio.gather(handle.result(), return_exceptions=True)
        return ended[0]

    def rows(self, table: Table) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(select(table)))

    async def awaited(self, promise_id: str) -> None:
        """Return when a promise exists; nothing announces that, so that it is asked for."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                try:
                    await self.resonate.promises.get(promise_id)
                except PromiseNotFound:
                    await asyncio.sleep(0.01)
                else:
                    return
