"""What a member is given, for tests that ask no more than which tasks these are."""

import asyncio

from holdfast.core.membership import TaskOffer, TaskPush
from holdfast.core.records import Promise

PATIENCE_S = 20


class Inbox:
    """What a member was given."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[str] = asyncio.Queue()

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push.task.id)

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None: ...

    async def get(self, count: int) -> set[str]:
        """Wait until so many more tasks were given; answer their ids."""
        async with asyncio.timeout(PATIENCE_S):
            return {await self.tasks.get() for _ in range(count)}
