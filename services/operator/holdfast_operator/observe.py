"""Keeps the mirror true: lists everything, then watches, and lists again from time to time.

The listing is what can be relied on; the watch is what makes it quick. A watch that broke is begun
again after a listing that worked, so that an API server that is away, or a resource that is not
installed yet, is asked gently.
"""

import asyncio
from typing import Final, Protocol

from holdfast_chassis.logs import get_logger
from holdfast_operator import metrics, model
from holdfast_operator.kube import Kube, KubeError, NotFound
from holdfast_operator.mirror import DEPLOYMENT, WORKER_GROUP, Mirror
from holdfast_operator.pacing import at_most, pause_s

NOT_INSTALLED: Final = (
    f"The resource {model.PLURAL}.{model.GROUP} is not installed in this cluster: install the chart"
    " holdfast-crds."
)

SETTLE_S: Final = 5.0
"""After a watch began, everything is listed once more: what was deleted between the listing and the
watch is in neither."""

log = get_logger("holdfast_operator.observe")


class WatchFailed(Exception):
    """The watch ended by itself; the message says why. Watch again later."""


class Watch(Protocol):
    """Whatever tells of changes; `holdfast_operator.handlers.Eyes` is one."""

    async def watch(self) -> None:
        """Watch until cancelled; raise `WatchFailed` when it ends by itself."""
        ...


class Observer:
    """Lists and watches until cancelled."""

    def __init__(self, *, kube: Kube, mirror: Mirror, watch: Watch, resync_s: float) -> None:
        self._kube = kube
        self._mirror = mirror
        self._watch = watch
        self._resync_s = resync_s
        self._listed = asyncio.Event()
        self._list_now = asyncio.Event()
        self.trouble: str | None = "The cluster was not listed yet."
        """Why the mirror may be old, or `None`."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_listing())
            tasks.create_task(self._keep_watching())

    async def _keep_listing(self) -> None:
        failures = 0
        while True:
            self._list_now.clear()
            if await self._list():
                failures = 0
                self._listed.set()
                await at_most(self._resync_s, self._list_now.wait)
            else:
                failures += 1
                await asyncio.sleep(pause_s(failures))

    async def _list(self) -> bool:
        """List everything; answer whether that worked."""
        try:
            groups = await self._kube.list_worker_groups()
            deployments = await self._kube.list_deployments()
        except NotFound as error:
            self._note(NOT_INSTALLED, error)
            return False
        except KubeError as error:
            self._note(f"The cluster cannot be listed: {error}.", error)
            return False
        self._mirror.replace(WORKER_GROUP, groups)
        self._mirror.replace(DEPLOYMENT, deployments)
        if self.trouble is not None:
            log.info("cluster_listed", worker_groups=len(groups.items))
        self.trouble = None
        return True

    def _note(self, trouble: str, error: KubeError) -> None:
        if self.trouble != trouble:
            log.warning("cluster_not_listed", reason=trouble, error=str(error))
        self.trouble = trouble

    async def _keep_watching(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            await self._listed.wait()
            began_at = loop.time()
            relist = loop.call_later(SETTLE_S, self._list_now.set)
            try:
                await self._watch.watch()
            except WatchFailed as error:
                log.warning("watch_failed", reason=str(error))
            finally:
                relist.cancel()
            metrics.watch_failures.inc()
            lasted_s = loop.time() - began_at
            failures = 1 if lasted_s > self._resync_s else failures + 1
            # What happened while nobody watched is found by a listing, and the next watch waits
            # for one that worked.
            self._listed.clear()
            self._list_now.set()
            await asyncio.sleep(pause_s(failures))
