"""What the store does by itself: when it is due, with whom it shares a batch, and how it fails.

Sweeps, leases of processes that are gone, and looks at waiting tasks ride in the batches of
callers. What fails is tried again after a pause; due rows that the database refuses are set aside.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from holdfast.core.working_set import Changes
from holdfast_chassis.logs import get_logger
from holdfast_store.batches import Batch, Committed, Gone
from holdfast_store.members import Members
from holdfast_store.observer import Observer
from holdfast_store.storage import Storage, StorageError
from holdfast_store.suspects import DueRows, Suspects

log = get_logger(__name__)

RETRY_PAUSE_S: Final = 1.0
"""Pause before background work is tried again on a database that failed."""


class Background:
    """Everything that waits for a batch without a caller.

    Invariant: what was taken for a batch comes back here when that batch was not committed.
    """

    def __init__(
        self,
        storage: Storage,
        members: Members,
        suspects: Suspects,
        *,
        clock: Callable[[], int],
        observer: Observer,
        due_max: int,
        wake: Callable[[], None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """Put it together; `wake` asks for a batch, `later` calls back after so many seconds."""
        self._storage = storage
        self._members = members
        self._suspects = suspects
        self._clock = clock
        self._observer = observer
        self._due_max = due_max
        self._wake = wake
        self._later = later
        self._due_wanted = False
        self._lost: list[Gone] = []
        self.on_due: Callable[[int], None] = lambda _at_ms: None
        """Told after each commit when something is due next among what changed."""
        self.on_swept: Callable[[bool], None] = lambda _more: None
        """Told after due work was done, and whether more is due already."""
        self.on_changed: Callable[[], None] = lambda: None
        """Told after each commit that changed a task, and when it is not known any more."""

    # What is wanted

    def sweep(self) -> None:
        """Do what is due in the next batch."""
        self._due_wanted = True
        self._wake()

    def lose(self, gone: Iterable[Gone]) -> None:
        """Give leases back in the next batch."""
        self._lost += gone
        self._wake()

    def join(self, batch: Batch) -> None:
        """Add what is wanted to a batch."""
        batch.due, self._due_wanted = self._due_wanted, False
        batch.lost, self._lost = self._lost, []
        batch.looks = self._members.wanted()

    def next_suspects(self) -> Batch:
        """Make a batch of due rows that must be swept by themselves, or of nothing."""
        return Batch(suspects=self._suspects.next_part())

    async def next_due_at_ms(self) -> int | None:
        """Find the earliest instant at which an ordinary sweep has something to do."""
        skipped = self._suspects.skipped
        if not skipped:
            return await self._storage.next_due_at_ms()
        armed = await self._storage.armed(limit=len(skipped) + 1)
        instants = (at_ms for at_ms, i in (*armed.promises, *armed.tasks) if i not in skipped)
        return min(instants, default=None)

    # How it ended

    def committed(self, batch: Batch, committed: Committed) -> None:
        """Learn that a batch stands."""
        self._members.looked(batch.looks, committed.decided.seen)
        for gone in batch.lost:
            if gone.back is not None:
                self._members.admit(gone.back)
        self._note_due(committed.changes)
        if batch.suspects.ids:
            self._suspects.cleared(batch.suspects)
            self._observer.due_rows_set_aside(refused=0, now=self._suspects.set_aside)
        if batch.due:
            loaded, full = committed.loaded, self._due_max
            more = len(loaded.due_promises) >= full or len(loaded.due_tasks) >= full
            self._due_wanted = self._due_wanted or more
            self.on_swept(more)

    def _note_due(self, changes: Changes) -> None:
        due = [p.timeout_at_ms for p in changes.promises_created if p.armed]
        due += [p.timeout_at_ms for p in changes.promises_updated if p.armed]
        for task in (*changes.tasks_created, *changes.tasks_updated):
            at_ms = task.due_at_ms
            if at_ms is not None:
                due.append(at_ms)
        if due:
            self.on_due(min(due))
        if changes.tasks_created or changes.tasks_updated:
            self.on_changed()

    def failed(self, batch: Batch) -> None:
        """Put background work back, after a pause."""
        self.on_changed()
        if not batch.has_background:
            return

        def restore() -> None:
            self._members.look_again(batch.looks)
            self._lost += batch.lost
            self._due_wanted = self._due_wanted or batch.due
            if batch.suspects.ids:
                self._suspects.try_again(batch.suspects)
            self._wake()

        self._later(RETRY_PAUSE_S, restore)

    async def refused(self, batch: Batch, error: Exception) -> None:
        """Look for the due row that the database refuses; other work is tried again as it is."""
        if batch.due:
            await self._suspect(batch, error)
        elif batch.suspects.ids:
            self._look_closer(batch.suspects, error)
        else:
            log.error("background_rejected", error=str(error))
            self.failed(batch)

    async def _suspect(self, batch: Batch, error: Exception) -> None:
        try:
            armed = await self._storage.armed(limit=self._due_max + len(self._suspects.skipped))
        except StorageError as unread:
            log.warning("due_not_listed", error=str(unread))
            self.failed(batch)
            return
        if not self._suspects.suspect(armed, now_ms=self._clock()):
            log.error("sweep_rejected", error=str(error))
            self.failed(batch)
            return
        log.warning("due_rows_suspected", error=str(error))
        self.on_swept(False)  # noqa: FBT003 - a callback; the others may be swept meanwhile

    def _look_closer(self, rows: DueRows, error: Exception) -> None:
        pause = self._suspects.refused(rows)
        if pause is None:
            return
        log.error(
            "due_row_set_aside",
            id=pause.id,
            tries=pause.tries,
            pause_s=pause.pause_s,
            error=str(error),
        )
        self._observer.due_rows_set_aside(refused=1, now=self._suspects.set_aside)
        self._later(pause.pause_s, partial(self._try_again, rows))

    def _try_again(self, rows: DueRows) -> None:
        self._suspects.try_again(rows)
        self._wake()
