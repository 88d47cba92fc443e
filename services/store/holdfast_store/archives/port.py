"""The port for whole databases: read as they were at one instant, or filled all at once.

Beside the engine's port, because nothing here is a batch: a snapshot is read next to a running
store and never waits for it, and only an empty database is filled.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from holdfast.core.checks.snapshot import Violation
from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast_store.storage import StorageError

R_co = TypeVar("R_co", covariant=True)


class Kind(StrEnum):
    """Kinds of records, in an order in which none refers to one behind it."""

    PROMISE = "promise"
    TASK = "task"
    CALLBACK = "callback"
    LISTENER = "listener"
    UNBLOCK = "unblock"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """The obligation to tell an address when a promise settles."""

    promise_id: str
    address: str


Record = Promise | Task | Callback | Listener | Unblock | Schedule

UNREADABLE = "D1"
"""Rule of a row whose columns hold what no record can."""
CONTRADICTED = "D2"
"""Rule of a row whose columns for the indexes disagree with the others: the store misses it."""
DAMAGED = "D3"
"""Rule of what the database itself finds wrong with its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk(Generic[R_co]):
    """Records that follow each other in the order of their keys, and rows that are none."""

    records: Sequence[R_co]
    flaws: Sequence[Violation] = ()


class Records(Protocol):
    """Everything that was stored at one instant; what is written later is not seen.

    Records come in chunks of a bounded number of rows and bytes, in the order of their keys. One
    reader at a time: a chunk is read to its end before something else is asked.
    """

    def promises(self, *, payloads: bool) -> AsyncIterator[Chunk[Promise]]:
        """Read every promise.

        Without payloads there is only the first byte of what a promise carries, so that empty and
        absent stay apart: enough for every rule, and small.
        """

    def tasks(self) -> AsyncIterator[Chunk[Task]]:
        """Read every task with its resumes."""

    def callbacks(self) -> AsyncIterator[Chunk[Callback]]:
        """Read every obligation to a task."""

    def listeners(self) -> AsyncIterator[Chunk[Listener]]:
        """Read every obligation to an address."""

    def unblocks(self) -> AsyncIterator[Chunk[Unblock]]:
        """Read every message that waits."""

    def schedules(self) -> AsyncIterator[Chunk[Schedule]]:
        """Read every schedule."""


class Snapshot(Records, Protocol):
    """The same of a database, and what can be asked about it."""

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""

    @property
    def now_ms(self) -> int:
        """Tell an instant behind the snapshot, by the clock that its stores answer by."""

    async def find_promises(self, ids: Collection[str]) -> Sequence[Promise]:
        """Read these promises without payloads; what is absent or unreadable is left out."""

    async def find_tasks(self, ids: Collection[str]) -> Sequence[Task]:
        """Read these tasks without resumes; what is absent or unreadable is left out."""

    async def find_carriers(self, ids: Collection[str]) -> frozenset[str]:
        """Say which of these promises carry a callback or a listener."""

    async def find_waits(self, awaiters: Collection[str]) -> Sequence[Callback]:
        """Read the callbacks that these tasks wait for."""

    async def damages(self) -> Sequence[Violation]:
        """Ask the database what it finds wrong with its own files."""


class NotEmpty(StorageError):
    """A database holds something already, so that it cannot be filled."""

    code = "not_empty"


class RecordRefused(StorageError):
    """The database refuses one record; `index` is its place among those that were given."""

    code = "record_refused"

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class Restoration(Protocol):
    """One transaction that fills an empty database."""

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""

    async def add(self, records: Sequence[Record]) -> None:
        """Write records; raise `RecordRefused` for the first that cannot be."""

    async def commit(self) -> None:
        """Make everything that was added stand."""


class Archive(Protocol):
    """A database as a whole. Nothing is open between the calls."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Look at what is stored now, beside whoever uses the database; writes nothing.

        Raises `StorageError`, of which `SchemaMismatch` says that the tables do not fit.
        """

    def restoration(self) -> AbstractAsyncContextManager[Restoration]:
        """Begin to fill a migrated database that nobody uses; leaving it undoes what is not kept.

        Raises `NotEmpty` or another `StorageError`.
        """
