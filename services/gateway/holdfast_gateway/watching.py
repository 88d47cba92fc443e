"""Watching workflows for those who follow their events: one watch for each, however many follow.

The end is learned at once, by a listener in the store. Nothing listens to all children of a
workflow, so these are looked for: a listing by their parent, again and again, less often while
nothing happens. All looks of the process take turns with pauses between, so that a thousand watches
cost the store no more than its settings say, and the news of children come later instead.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from typing import Final

from msgspec import UNSET

from holdfast import DurablePromise, PromiseNotFound, Resonate
from holdfast.core.limits import SEARCH_LIMIT_MAX
from holdfast.core.records import PARENT
from holdfast.errors import NotSupported, ServerOverloaded, ServerUnavailable
from holdfast_chassis.logs import get_logger
from holdfast_gateway import metrics
from holdfast_gateway.events import (
    ChildBody,
    Event,
    child_event,
    more_event,
    settled_event,
    workflow_event,
)
from holdfast_gateway.records import promise_body

CHILDREN_MAX: Final = SEARCH_LIMIT_MAX
"""Of one workflow; it bounds what a watch keeps and what a look costs."""
PAGE: Final = 250
LOOK_SECONDS_MIN: Final = 0.25
LOOK_SECONDS_MAX: Final = 5.0
PAUSE_SECONDS: Final = 0.05
"""Between two looks of the process: there are no more than twenty in a second."""
AGAIN_SECONDS: Final = 1.0

_AWAY: Final = (ServerUnavailable, ServerOverloaded)

log = get_logger(__name__)


class Watch:
    """One workflow. `told` only grows, and ends with the end of the workflow."""

    def __init__(self, resonate: Resonate, workflow_id: str, turn: asyncio.Lock) -> None:
        self._resonate = resonate
        self._id = workflow_id
        self._turn = turn
        self._news = asyncio.Event()
        self._pending: dict[str, bool] = {}
        """The children that were told of, and whether each was pending then."""
        self._is_cut = False
        self.told: list[Event] = []
        self.has_ended = False

    async def news(self, seen: int) -> None:
        """Return when more was told than was seen, or nothing more will be."""
        while len(self.told) <= seen and not self.has_ended:
            await self._news.wait()

    async def follow(self) -> None:
        """Tell everything until the workflow ends."""
        try:
            promise = await self._read()
            self._tell(workflow_event(promise_body(promise)))
            while promise.is_pending:
                await self._until_settled()
                promise = await self._read()
            await self._look()
            self._tell(settled_event(promise_body(promise)))
        except PromiseNotFound:  # it was deleted
            log.debug("watch_ended")
        except Exception:
            log.exception("watch_failed")
        finally:
            self.has_ended = True
            self._news.set()

    def _tell(self, event: Event) -> None:
        self.told.append(event)
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _read(self) -> DurablePromise:
        while True:
            try:
                return await self._resonate.promises.get(self._id, raw=True)
            except _AWAY:
                await asyncio.sleep(AGAIN_SECONDS)

    async def _until_settled(self) -> None:
        """Look for children until the promise is settled, or that cannot be learned now."""
        looking = asyncio.create_task(self._keep_looking())
        try:
            handle = await self._resonate.get(self._id)
            # What it was rejected with is read from its record, not from here.
            ended: list[object] = await asyncio.gather(handle.result(), return_exceptions=True)
            if isinstance(ended[0], _AWAY):
                await asyncio.sleep(AGAIN_SECONDS)
        except _AWAY:
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _keep_looking(self) -> None:
        seconds = LOOK_SECONDS_MIN
        while True:
            told = len(self.told)
            async with self._turn:
                await self._look()
                await asyncio.sleep(PAUSE_SECONDS)
            has_changed = len(self.told) > told
            seconds = LOOK_SECONDS_MIN if has_changed else min(seconds * 1.5, LOOK_SECONDS_MAX)
            await asyncio.sleep(seconds)

    async def _look(self) -> None:
        """Tell of children that are new or settled, in the order in which that happened."""
        try:
            found = await self._children()
        except (*_AWAY, NotSupported):  # what cannot be seen now is seen later, or not told at all
            return
        news = [child for child in found if self._is_news(child)]
        for child in news:
            self._pending[child.id] = child.settled_at_ms is UNSET
        for event in sorted(map(child_event, news), key=lambda event: event.at_ms):
            self._tell(event)

    def _is_news(self, child: ChildBody) -> bool:
        was_pending = self._pending.get(child.id)
        if was_pending is None:
            return len(self._pending) < CHILDREN_MAX
        return was_pending and child.settled_at_ms is not UNSET

    async def _children(self) -> list[ChildBody]:
        children: list[ChildBody] = []
        cursor: str | None = None
        while True:
            page = await self._resonate.promises.search(
                tags={PARENT: self._id}, limit=PAGE, cursor=cursor, raw=True
            )
            children += [_child(each) for each in page.promises if each.id != self._id]
            cursor = page.cursor
            if cursor is None:
                return children[:CHILDREN_MAX]
            if len(children) >= CHILDREN_MAX:
                self._tell_of_more()
                return children[:CHILDREN_MAX]

    def _tell_of_more(self) -> None:
        if not self._is_cut:
            self._is_cut = True
            at_ms = self.told[0].at_ms  # when it happened is not known
            self._tell(more_event(self._id, told_children=CHILDREN_MAX, at_ms=at_ms))


def _child(promise: DurablePromise) -> ChildBody:
    return ChildBody(
        id=promise.id,
        state=promise.state,  # type: ignore[arg-type] # the store knows no others
        created_at_ms=promise.created_at_ms,
        settled_at_ms=UNSET if promise.settled_at_ms is None else promise.settled_at_ms,
    )


class Watches:
    """All watches of a process: at most so many clients, and all of them end when it stops."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._clients = 0
        self._watched: dict[str, tuple[Watch, asyncio.Task[None], list[None]]] = {}
        self._turn = asyncio.Lock()
        self.closing = asyncio.Event()

    def close(self) -> None:
        """End every stream; they go on elsewhere."""
        self.closing.set()

    @property
    def has_room(self) -> bool:
        """Whether another client may follow."""
        return self._clients < self._most and not self.closing.is_set()

    @contextlib.asynccontextmanager
    async def following(self, resonate: Resonate, workflow_id: str) -> AsyncIterator[Watch]:
        """Share the watch of a workflow; the last one who leaves ends it."""
        if workflow_id not in self._watched:
            watch = Watch(resonate, workflow_id, self._turn)
            # It serves all who follow, so that what it logs is not said of the first one's request.
            task = asyncio.create_task(watch.follow(), context=contextvars.Context())
            self._watched[workflow_id] = (watch, task, [])
        watch, task, followers = self._watched[workflow_id]
        followers.append(None)
        self._clients += 1
        try:
            with metrics.event_streams.track_inprogress():
                yield watch
        finally:
            self._clients -= 1
            followers.pop()
            if not followers:
                del self._watched[workflow_id]
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
