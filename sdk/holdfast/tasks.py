"""Tasks as an operator handles them: why one stands still, and letting it go on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.records import Task
from holdfast.core.requests import Request, TaskContinue, TaskGet, TaskHalt
from holdfast.lineage import prefixed

if TYPE_CHECKING:
    from holdfast.client import Resonate


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableTask:
    """A task as it was when it was read; its id is that of the promise that it is to settle.

    `pid` and `ttl_ms` are those of the process that holds it, while one does. `resumes` counts
    the promises that were settled since it was last given to a process.
    """

    id: str
    state: str
    version: int
    resumes: int
    pid: str | None
    ttl_ms: int | None


class Tasks:
    """`resonate.tasks`. Ids get the client's prefix; an unknown one raises `TaskNotFound`."""

    def __init__(self, client: "Resonate") -> None:
        self._client = client

    async def get(self, id: str) -> DurableTask:
        """Read a task."""
        task = await self._ask(TaskGet(id=self._id(id)))
        assert task is not None
        return DurableTask(
            id=task.id,
            state=task.state.value,
            version=task.version,
            resumes=len(task.resumes),
            pid=task.pid,
            ttl_ms=task.ttl_ms,
        )

    async def halt(self, id: str, reason: str | None = None) -> None:
        """Give a task to nobody until it is continued; whoever runs it now stops at its next write.

        Raises `VersionConflict` for one that has ended.
        """
        await self._ask(TaskHalt(id=self._id(id), reason=reason))

    async def continue_(self, id: str) -> None:
        """Let a halted task go on: after a panic, say, once the code is mended.

        Raises `VersionConflict` for one that is not halted.
        """
        await self._ask(TaskContinue(id=self._id(id)))

    async def _ask(self, request: Request) -> Task | None:
        return (await (await self._client.joined()).ask_done(request)).task

    def _id(self, task_id: str) -> str:
        return prefixed(self._client.prefix, task_id)
