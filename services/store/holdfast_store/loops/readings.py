"""Keep the queue statistics read for whoever scrapes, so that scraping itself asks nobody.

A reading counts every open task, so that it follows their number: it takes a bounded share of the
time, and happens only after something has changed, or as often as an idle store looks at all.
"""

import asyncio

from holdfast_chassis.logs import get_logger
from holdfast_store.statistics import REFRESH_S, Statistics, pause_after
from holdfast_store.storage import StorageError

log = get_logger(__name__)


class Readings:
    """Reads the statistics again after they changed; batches never wait for it."""

    def __init__(self, statistics: Statistics, *, slow_poll_s: float) -> None:
        self._statistics = statistics
        self._slow_poll_s = slow_poll_s

    async def run(self) -> None:
        """Run until cancelled."""
        is_lost = False
        while True:
            pause_s = REFRESH_S
            try:
                took_s = await self._statistics.refresh()
            except StorageError as error:
                if not is_lost:
                    log.warning("queues_not_read", error=str(error))
                is_lost = True
            else:
                is_lost = False
                pause_s = pause_after(took_s)
            await asyncio.sleep(pause_s)
            await self._until_unread()

    async def _until_unread(self) -> None:
        try:
            async with asyncio.timeout(self._slow_poll_s):
                await self._statistics.unread()
        except TimeoutError:
            return
