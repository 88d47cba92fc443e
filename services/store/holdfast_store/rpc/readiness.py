"""Whether calls should be sent to this process: told by what happens, not by constant asking."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from holdfast_chassis.logs import get_logger
from holdfast_store.engine import Engine
from holdfast_store.storage import StorageError

log = get_logger(__name__)

REPAIR_CHECK_S: Final = 1.0
"""How soon a database that failed is asked again."""


class Readiness:
    """Ready while the database answers and the store is not stopping.

    A healthy database is asked as rarely as the slow poll asks it; a failed batch makes the
    question urgent.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        slow_poll_s: float,
        on_change: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._slow_poll_s = slow_poll_s
        self._on_change = on_change
        self._reasons: dict[str, str] = {"start": "The store is starting."}
        self._urgent = asyncio.Event()

    def reasons(self) -> Mapping[str, str]:
        """Why no calls should be sent here, by short name; none when ready."""
        return self._reasons

    def doubt(self) -> None:
        """Learn that a batch failed: look at the database now."""
        self._urgent.set()

    def awaits(self, reason: str) -> None:
        """Learn before the first look that there is no database yet."""
        self._reasons = {"database": f"The store waits for its database: {reason}"}

    def stop(self) -> None:
        """Be unready for good."""
        self._reasons = {"stop": "The store is stopping."}

    async def watch(self) -> None:
        """Run until cancelled."""
        while "stop" not in self._reasons:
            self._urgent.clear()
            found = await self._look()
            if "stop" in self._reasons:
                return
            changed = bool(found) is not bool(self._reasons)
            self._reasons = found
            if changed:
                log.info("readiness_changed", ready=not found)
                await self._on_change(not found)
            try:
                async with asyncio.timeout(REPAIR_CHECK_S if found else self._slow_poll_s):
                    await self._urgent.wait()
            except TimeoutError:
                continue

    async def _look(self) -> dict[str, str]:
        try:
            await self._engine.ping()
        except StorageError as error:
            return {"database": f"The database does not answer: {error}"}
        return {}
