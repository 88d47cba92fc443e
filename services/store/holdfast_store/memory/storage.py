"""Promises in memory: the same port as a database, for tests, trials and embedded use.

Nothing survives the process. The cost of a batch does not depend on how many promises are stored:
what a database does with an index is done here with an agenda or a sorted list.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from holdfast.core.records import Preload, Promise, Schedule
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.core.working_set import Changes
from holdfast_store.memory import searches as memory_searches
from holdfast_store.memory.rows import MemoryRows
from holdfast_store.memory.snapshot import MemorySnapshot
from holdfast_store.storage import (
    Armed,
    Loaded,
    Plan,
    Pruned,
    QueueCounts,
    Root,
    TreePart,
    UnreadableSchedule,
)


class MemoryStorage:
    """A database of promises in memory; one transaction at a time.

    Records are frozen, so they are kept and answered as they are.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._rows = MemoryRows()

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Wait for the running transaction; what is stored stays until the object goes."""
        async with self._turn:
            return

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryTransaction"]:
        """Begin; a transaction that is left without a commit has changed nothing."""
        async with self._turn:
            yield MemoryTransaction(self._rows)

    async def next_due_at_ms(self) -> int | None:
        """Answer when the next promise or task is due; `None` when nothing is armed."""
        return self._rows.next_due_at_ms()

    async def armed(self, *, limit: int) -> Armed:
        """List so many promises and so many tasks, earliest instant first, due or not."""
        return self._rows.armed(limit)

    async def queued_groups(self) -> frozenset[str]:
        """List groups with waiting execute messages."""
        return frozenset(self._rows.work.queued)

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        """List addresses of a scheme that messages about settled promises wait for, in order."""
        return self._rows.outbox.addresses(scheme, behind=behind, limit=limit)

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts, as pid and instance, that hold leases now."""
        return self._rows.work.lease_holders()

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        """Count work per group, in the order of their names."""
        return self._rows.work.queue_counts(now_ms)

    async def search_promises(
        self,
        search: PromiseSearch,
        *,
        now_ms: int,
        told: bool = False,  # noqa: ARG002 - nothing here has a clock of its own
    ) -> PromisePage:
        """List promises, as they read now."""
        return memory_searches.promises(self._rows.promises, search, now_ms=now_ms)

    async def search_tasks(
        self,
        search: TaskSearch,
        *,
        now_ms: int,
        told: bool = False,  # noqa: ARG002 - nothing here has a clock of its own
    ) -> TaskPage:
        """List tasks, as they read now."""
        rows = self._rows
        return memory_searches.tasks(rows.work.tasks, rows.promises, search, now_ms=now_ms)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules."""
        return self._rows.schedules.search(search)

    async def next_schedule_at_ms(self) -> int | None:
        """Answer when the next schedule is due; `None` when none ever is."""
        return self._rows.schedules.next_at_ms()

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        """Read so many schedules that are due, the earliest first."""
        return self._rows.schedules.due(now_ms=now_ms, limit=limit, bytes_max=bytes_max, skip=skip)

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int, prefix: str = ""
    ) -> Sequence[tuple[str, Promise]]:
        """Delete messages for these addresses, and answer their addresses and promises."""
        async with self._turn:
            rows = self._rows
            return rows.outbox.take(
                addresses, rows.promises, limit=limit, bytes_max=bytes_max, prefix=prefix
            )

    async def drop_unblocks(self, *, before_ms: int) -> int:
        """Delete messages that nobody came for; answer how many."""
        async with self._turn:
            return self._rows.outbox.drop(before_ms)

    async def file_origins(self, *, limit: int) -> bool:  # noqa: ARG002 - nothing is unknown here
        """Answer that every tree is known."""
        return True

    async def roots(self, *, before_ms: int, behind: tuple[int, str], limit: int) -> Sequence[Root]:
        """List roots that were created before an instant, the oldest first."""
        asked = self._rows.asked()
        found = self._rows.trees.roots(before_ms=before_ms, behind=behind)
        return [asked.root(root, before_ms) for root in found[:limit]]

    async def tree_part(self, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
        """Look at so many promises of a tree."""
        members = self._rows.trees.members(root, behind=behind)[:limit]
        return self._rows.asked().part(members, before_ms=before_ms, behind=behind)

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        """Delete so many promises of trees that are over, in one transaction."""
        async with self._turn:
            return self._rows.prune(roots, before_ms=before_ms, behind=behind, limit=limit)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[MemorySnapshot]:
        """Keep what is stored now, between two transactions."""
        async with self._turn:
            rows = self._rows
            found = MemorySnapshot(
                promises=rows.promises.values(),
                tasks=rows.work.tasks.values(),
                callbacks=rows.callbacks,
                listeners=rows.listeners,
                outbox=rows.outbox.messages,
                schedules=rows.schedules.all(),
            )
        yield found

    async def reset(self) -> None:
        """Delete every record."""
        async with self._turn:
            self._rows = MemoryRows()

    async def ping(self) -> None:
        """Answer."""


class MemoryTransaction:
    """One unit of work; nobody else writes between its load and its commit."""

    __slots__ = ("_rows",)

    def __init__(self, rows: MemoryRows) -> None:
        self._rows = rows

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Read what a plan names."""
        return self._rows.load(plan, now_ms)

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        """Write everything or, raising a `StorageError`, nothing; then read the preloads."""
        self._rows.check(changes)
        self._rows.save(changes)
        return {task_id: self._rows.preload(task_id, preload_bytes_max) for task_id in preload_of}
