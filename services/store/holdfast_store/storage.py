"""The port between the batch engine and a database.

Shaped for PostgreSQL, so that it fits every engine below it: a transaction locks the closure of
the rows that its batch names, an insert may collide with another replica's, and a commit may end
without a known outcome. Nothing here decides a rule.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.records import Preload, Promise, Schedule
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.core.working_set import Changes, WorkingSet


class StorageError(Exception):
    """A database did not do what it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableSchedule:
    """A row that is no schedule: somebody has damaged it, beside the store."""

    id: str
    next_run_at_ms: int
    reason: str


class InsertConflict(StorageError):
    """A row that the batch found absent exists now: repeat the batch, it will see the row.

    Absent rows cannot be locked, so two replicas may create the same id at once.
    """


class TransactionAborted(StorageError):
    """Serialization failure, deadlock or lock time-out: nothing was written, repeat the batch."""


class NotCertain(TransactionAborted):
    """What was known and taken for granted did not hold: repeat the batch, which looks now."""


class BatchRejected(StorageError):
    """A statement failed for the data of some operation: halve the batch to find the culprit."""


class RowUnreadable(BatchRejected):
    """A row is damaged that the batch must see."""

    def __init__(self, row_id: str, *, needed_by: Collection[str], error: Exception) -> None:
        """Name the row, and the ids that cannot be loaded without it; its own is one of them."""
        super().__init__(f"the row {row_id!r} cannot be read: {error}")
        self.needed_by = needed_by


class StorageUnavailable(StorageError):
    """The database cannot be used now (away, disk full, read-only); nothing was written."""


class StorageRefused(StorageUnavailable):
    """The database refuses this store until somebody changes its address, its account or itself."""


class CommitOutcomeUnknown(StorageError):
    """The connection broke during the commit; the writes are there as a whole or not at all."""


class SchemaMismatch(StorageError):
    """The tables are not the ones that this version was written for."""

    code = "schema_mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Tasks of a group with a waiting execute message, behind a place in their order."""

    group: str
    queued_at_ms: int
    id: str
    """Together the place: the tasks that follow it are meant, not the one that stands there."""
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Trees of a group whose turn it is: those with a waiting execute message, in a circle."""

    after: int
    """The tree that had the last turn; those with greater numbers are meant, in their order."""
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A tree that has its turn."""

    group: str
    tree: int
    id: str | None
    """Its oldest queued task; none when another replica has all that there are, or when that one
    is to be skipped."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a batch must see before it is decided."""

    ids: set[str] = field(default_factory=set)
    """Promises, with tasks, resumes, callbacks, listeners, and the callbacks' awaiters."""
    created: Collection[str] = ()
    """Those of them that the batch creates unless they exist, which they seldom do."""
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
    turns: Mapping[str, Turns] = field(default_factory=dict)
    """Per group: trees whose oldest queued tasks are wanted too; one statement for all groups."""
    skip: Collection[str] = ()
    """Tasks that neither count as queued, so that they take no other's place, nor as acquired by a
    process: the database refuses to read them or to give them out."""
    schedules: Collection[str] = ()
    """Schedules that somebody asks for."""
    firing: Collection[str] = ()
    """Schedules that are due; those that another replica has in hand are left out."""
    told: bool = False
    """The caller named the instant: it stands, whatever the database's clock says (§6.2)."""


@dataclass(slots=True, kw_only=True)
class Loaded:
    """Rows of a plan: locked until the transaction ends, or made certain of by its end."""

    working_set: WorkingSet
    now_ms: int
    """The instant of the transaction: the database's clock where replicas exist."""
    due_promises: Sequence[str] = ()
    due_tasks: Sequence[str] = ()
    queued: Sequence[str] = ()
    """What `queued` asks for, oldest first, and then what `behind` asks for."""
    passed_by: Collection[str] = ()
    """Groups with more queued tasks than were found where fewer were found than asked for: another
    replica has them at this moment. Their queue did not come to its end."""
    turns: Sequence[Turn] = ()
    """What `turns` asks for, by group and tree; fewer than asked where the circle ends."""


class Transaction(Protocol):
    """One unit of work."""

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Answer a plan; what it says holds if the transaction commits.

        The rows are read and locked, or the commit makes sure of them. The number of statements
        does not depend on the size of the plan. Whoever loads again goes by the last answer.
        """

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A promise that begins a tree: the tag `resonate:origin` of the others names it."""

    id: str
    created_at_ms: int
    ended_at_ms: int
    """When it was settled, or is by its deadline."""
    is_over: bool
    """Whether it ended before the instant that was asked for, and nobody can ask for it again: no
    message or obligation names it, and the promise that created it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePart:
    """What was found of a tree behind a place in the order of its ids."""

    seen: int
    is_over: bool
    """Whether all of these, like a root, ended before the instant that was asked for."""
    last: str
    """The place behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a transaction deleted."""

    roots: Collection[str] = ()
    promises: int = 0
    """The roots among them."""
    last: str = ""
    """The place behind the last promise of the last tree."""


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

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        """List addresses of a scheme that messages about settled promises wait for, in order."""

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts, as pid and instance, that hold leases now."""

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        """Work per group, of tasks that have something ahead."""

    async def search_promises(
        self, search: PromiseSearch, *, now_ms: int, told: bool = False
    ) -> PromisePage:
        """List promises, as they read now: by the database's clock where replicas exist.

        An instant that the caller was `told` stands instead. A page ends early where its payloads
        would exceed `SEARCH_BYTES_MAX`.
        """

    async def search_tasks(
        self, search: TaskSearch, *, now_ms: int, told: bool = False
    ) -> TaskPage:
        """List tasks, as they read now."""

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules; a page ends early like that of promises."""

    async def next_schedule_at_ms(self) -> int | None:
        """Find the earliest instant at which a schedule is due; `None` when none ever is."""

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        """Read so many schedules that are due, the earliest first, none of them locked.

        So many payloads' bytes at most, but one schedule in any case.
        """

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int, prefix: str = ""
    ) -> Sequence[tuple[str, Promise]]:
        """Delete messages for these addresses, and answer their addresses and promises.

        Of promises whose ids begin with the prefix alone: others wait for whoever may have them.
        At most once (§4.3). So many at most, and so many bytes of payloads, but one in any case:
        nothing is left exactly if nothing is answered.
        """

    async def drop_unblocks(self, *, before_ms: int) -> int:
        """Delete messages that nobody came for; answer how many."""

    async def file_origins(self, *, limit: int) -> bool:
        """Note the trees of so many promises that an older version wrote; answer if that is all."""

    async def roots(self, *, before_ms: int, behind: tuple[int, str], limit: int) -> Sequence[Root]:
        """List roots behind a place that were created before an instant, the oldest first."""

    async def tree_part(self, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
        """Look at so many promises of a tree, behind a place in the order of their ids."""

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        """Delete so many promises of trees that are over, in one transaction.

        Each root goes last, when nothing else of its tree is there: whoever creates the same
        promise meanwhile gets the settled one, and never half of a tree without its root. Rows
        that somebody else has locked, or that are not over, stay.
        """

    async def reset(self) -> None:
        """Delete every record, all at once; no transaction of this process is under way meanwhile.

        For `debug.reset` alone. What says who uses the database, and how, stays.
        """

    async def ping(self) -> None:
        """Answer when the database does; raise `StorageUnavailable` otherwise."""
