"""Tasks as an operator handles them: why one stands still, and letting it go on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.limits import SEARCH_LIMIT_DEFAULT
from holdfast.core.records import Task, TaskState
from holdfast.core.requests import Request, TaskContinue, TaskGet, TaskHalt
from holdfast.core.search import TaskSearch
from holdfast.lineage import prefixed
from holdfast.states import parse_state

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTasks:
    """A page of tasks, in the order of their ids."""

    tasks: tuple[DurableTask, ...]
    cursor: str | None
    """Where the next page begins; `None` on the last one."""


class Tasks:
    """`resonate.tasks`. Ids get the client's prefix; an unknown one raises `TaskNotFound`."""

    def __init__(self, client: "Resonate") -> None:
        self._client = client

    async def get(self, id: str) -> DurableTask:
        """Read a task."""
        task = await self._ask(TaskGet(id=self._id(id)))
        assert task is not None
        return _view(task)

    async def search(
        self,
        *,
        state: str | None = None,
        limit: int = SEARCH_LIMIT_DEFAULT,
        cursor: str | None = None,
    ) -> FoundTasks:
        """List tasks of the whole store, in the order of their ids; `cursor` is the last page's.

        The state is that of now: a task whose promise is settled is `fulfilled`.
        """
        search = TaskSearch(state=parse_state(TaskState, state), limit=limit, cursor=cursor or "")
        page = await (await self._client.joined()).search_tasks(search)
        return FoundTasks(tasks=tuple(map(_view, page.tasks)), cursor=page.cursor)

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


def _view(task: Task) -> DurableTask:
    return DurableTask(
        id=task.id,
        state=task.state.value,
        version=task.version,
        resumes=len(task.resumes),
        pid=task.pid,
        ttl_ms=task.ttl_ms,
    )
