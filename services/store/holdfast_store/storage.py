"""The port between the batch engine and a database.

Shaped for PostgreSQL, so that it fits every engine below it: a transaction locks the closure of
the rows that its batch names, an insert may collide with another replica's, and a commit may end
without a known outcome. Nothing here decides a rule.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.records import Preload, Promise
from holdfast.core.working_set import Changes, WorkingSet


class StorageError(Exception):
    """A database did not do what it was asked."""


class InsertConflict(StorageError):
    """A row that the batch found absent exists now: repeat the batch, it will see the row.

    Absent rows cannot be locked, so two replicas may create the same id at once.
    """


class TransactionAborted(StorageError):
    """Serialization failure, deadlock or lock time-out: nothing was written, repeat the batch."""


class BatchRejected(StorageError):
    """A statement failed for the data of some operation: halve the batch to find the culprit."""


class StorageUnavailable(StorageError):
    """The database cannot be used now (away, disk full, read-only); nothing was written."""


class CommitOutcomeUnknown(StorageError):
    """The connection broke during the commit; the writes are there as a whole or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Tasks of a group with a waiting execute message, behind a place in their order."""

    group: str
    queued_at_ms: int
    id: str
    """Together the place: the tasks that follow it are meant, not the one that stands there."""
    limit: int


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a batch must see before it is decided."""

    ids: set[str] = field(default_factory=set)
    """Promises, with tasks, resumes, callbacks, listeners, and the callbacks' awaiters."""
    pids: set[str] = field(default_factory=set)
    """Processes whose acquired tasks are wanted."""
    due_max: int = 0
    """With a number: that many promises and that many tasks that are due by now as well."""
    due_skip: Collection[str] = ()
    """Ids that do not count as due, so that they neither are loaded nor take another's place."""
    queued: Mapping[str, int] = field(default_factory=dict)
    """Per group: how many tasks with a waiting execute message, oldest first."""
    behind: Behind | None = None
    """Further back in the queue of one more group: it takes one more statement."""


@dataclass(slots=True, kw_only=True)
class Loaded:
    """Rows of a plan, locked until the transaction ends."""

    working_set: WorkingSet
    now_ms: int
    """The instant of the transaction: the database's clock where replicas exist."""
    due_promises: Sequence[str] = ()
    due_tasks: Sequence[str] = ()
    queued: Sequence[str] = ()
    """What `queued` asks for, oldest first, and then what `behind` asks for."""


class Transaction(Protocol):
    """One unit of work."""

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Read and lock. The number of statements does not depend on the size of the plan."""

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        """Write, read the children of the tasks in `preload_of`, and commit.

        Preloads are stored records, unprojected, ordered by id: all promises that share the
        branch of the task's promise or whose parent does, without that promise itself. Raises
        every `StorageError`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """Ids for which the clock has something to do, by their instants; nothing is read but that."""

    promises: Sequence[tuple[int, str]]
    tasks: Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """The state of one group's work."""

    group: str
    due: int = 0
    running: int = 0
    suspended: int = 0
    halted: int = 0
    oldest_due_at_ms: int | None = None


class Storage(Protocol):
    """A database of promises."""

    async def open(self) -> None:
        """Connect and check the schema version."""

    async def close(self) -> None:
        """Finish running transactions and disconnect."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin; leaving without a commit rolls back."""

    async def next_due_at_ms(self) -> int | None:
        """Find the earliest instant at which anything is due; `None` when nothing is armed."""

    async def armed(self, *, limit: int) -> Armed:
        """List so many promises and so many tasks, earliest instant first, due or not."""

    async def queued_groups(self) -> frozenset[str]:
        """List groups with waiting execute messages."""

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts, as pid and instance, that hold leases now."""

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        """Work per group, of tasks that have something ahead."""

    async def take_unblocks(self, addresses: Sequence[str]) -> Sequence[Promise]:
        """Delete and answer settled promises that wait for these addresses (at most once, §4.3)."""

    async def drop_unblocks(self, *, before_ms: int) -> int:
        """Delete messages that nobody came for; answer how many."""

    async def ping(self) -> None:
        """Answer when the database does; raise `StorageUnavailable` otherwise."""
