"""What the store does by itself: when it is due, with whom it shares a batch, and how it fails.

Sweeps, leases of processes that are gone, and looks at waiting tasks ride in the batches of
callers. What fails is tried again after a pause; due rows that the database refuses are set aside.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Final

from holdfast.core.records import Schedule
from holdfast.core.working_set import Changes
from holdfast_chassis.logs import get_logger
from holdfast_store.asides import Aside
from holdfast_store.batches import Back, Batch, Committed, Gone
from holdfast_store.members import Members
from holdfast_store.observer import Observer
from holdfast_store.storage import RowUnreadable, Storage, StorageError
from holdfast_store.suspects import DueRows, Suspects
from holdfast_store.vain import VainLooks
from holdfast_store.wakeups import News

log = get_logger(__name__)

RETRY_PAUSE_S: Final = 1.0
"""Pause before background work is tried again on a database that failed."""

PASSED_PAUSE_S_MIN: Final = 0.01
PASSED_PAUSE_S_MAX: Final = 1.0
"""Pauses, each twice the one before, before tasks are looked for again that another store had."""


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
        self._lost: list[Gone | Back] = []
        self._lost_waits: Counter[str] = Counter()
        """Of which processes nothing is done before a pause after a failure is over. Who sat down
        and left again would otherwise leave first."""
        self._passed_by: dict[str, float] = {}
        self._coming_back: set[str] = set()
        self._vain = VainLooks()
        self._put_off: set[str] = set()
        self.is_resting = False
        """Whether nothing is swept now: in debug mode the clock is the tests' (§6.1)."""
        self.on_due: Callable[[int], None] = lambda _at_ms: None
        """Told after each commit when something is due next among what changed."""
        self.on_schedules: Callable[[int], None] = lambda _at_ms: None
        """Told after each commit when a schedule is due next among those that changed."""
        self.on_schedules_written: Callable[[Iterable[Schedule]], None] = lambda _written: None
        """Told after each commit which schedules it has made or changed, if any."""
        self.on_swept: Callable[[bool], None] = lambda _more: None
        """Told after due work was done, and whether more is due already."""
        self.on_left: Callable[[News], None] = lambda _news: None
        """Told after each commit what it left to other stores, since no member here could."""
        self.on_changed: Callable[[], None] = lambda: None
        """Told after each commit that changed a task, and when it is not known any more."""

    # What is wanted

    def sweep(self) -> None:
        """Do what is due in the next batch."""
        self._due_wanted = True
        self._wake()

    def lose(self, gone: Iterable[Gone | Back]) -> None:
        """Give leases back in the next batch, but what a process that sits down still holds."""
        self._lost += gone
        self._wake()

    def join(self, batch: Batch) -> None:
        """Add what is wanted to a batch."""
        batch.due, self._due_wanted = self._due_wanted and not self.is_resting, False
        waits = self._lost_waits
        batch.lost = [each for each in self._lost if each.pid not in waits]
        self._lost = [each for each in self._lost if each.pid in waits]
        batch.looks = self._members.wanted()

    def next_suspects(self) -> Batch:
        """Make a batch of due rows that must be swept by themselves, or of nothing."""
        return Batch() if self.is_resting else Batch(suspects=self._suspects.next_part())

    async def next_due_at_ms(self) -> int | None:
        """Find the earliest instant at which an ordinary sweep has something to do."""
        skipped = self._suspects.skipped
        if not skipped:
            return await self._storage.next_due_at_ms()
        armed = await self._storage.armed(limit=len(skipped) + 1)
        instants = (at_ms for at_ms, i in (*armed.promises, *armed.tasks) if i not in skipped)
        return min(instants, default=None)

    def forget(self) -> None:
        """Learn that there are no records any more.

        What is to be given back stays wanted: whoever sits down is admitted by it.
        """
        self._suspects.forget()
        self._vain = VainLooks()
        self._passed_by.clear()
        self._due_wanted = False

    # How it ended

    def committed(self, batch: Batch, committed: Committed) -> None:
        """Learn that a batch stands."""
        self._members.looked(batch.looks, committed.decided.seen)
        self._vain.looked(batch.looks, committed.decided.seen)
        if batch.looks:
            groups = list(batch.looks.groups())
            held_back = self._members.asides.committed(groups, committed.decided.given())
            if held_back:
                self.tasks_came(held_back)
        self._note_passed(batch.looks.groups(), committed.loaded.passed_by)
        for each in batch.lost:
            if isinstance(each, Back):
                self._members.admit(each.seat)
        self.note_changes(committed.changes)
        if batch.suspects.ids:
            self._suspects.cleared(batch.suspects)
            self._observer.due_rows_set_aside(refused=0, now=self._suspects.set_aside)
        if batch.due:
            loaded, full = committed.loaded, self._due_max
            more = len(loaded.due_promises) >= full or len(loaded.due_tasks) >= full
            # What ends with others ends soon after them: to sweep again finds it sooner than to
            # ask when that is.
            more = more or bool(committed.decided.lateness_ms)
            self._due_wanted = self._due_wanted or more
            self.on_swept(more)

    def hear(self, groups: Iterable[str]) -> None:
        """Learn of waiting tasks that another store has queued, and look for them soon."""
        now = []
        for group in groups:
            pause_s = self._vain.pause_s(group)
            if not pause_s:
                now.append(group)
            elif group not in self._put_off:
                self._put_off.add(group)
                self._later(pause_s, partial(self._look_after_all, group))
        if now:
            self.tasks_came(now)

    def _look_after_all(self, group: str) -> None:
        self._put_off.discard(group)
        self.tasks_came([group])

    def tasks_came(self, groups: Iterable[str]) -> None:
        """Learn of waiting tasks that no member here was offered, and look for them."""
        for group in groups:
            self._members.tasks_came(group)
        self._wake()

    def _note_passed(self, looked_at: Iterable[str], passed_by: Collection[str]) -> None:
        """Come back for waiting tasks that another store had in hand: it may not place them."""
        for group in looked_at:
            if group not in passed_by:
                self._passed_by.pop(group, None)
        # Once each: a look that somebody else asked for must not ask for one more every time.
        for group in set(passed_by) - self._coming_back:
            self._coming_back.add(group)
            pause_s = self._passed_by.get(group, PASSED_PAUSE_S_MIN)
            self._passed_by[group] = min(2 * pause_s, PASSED_PAUSE_S_MAX)
            self._later(pause_s, partial(self._come_back, group))

    def _come_back(self, group: str) -> None:
        self._coming_back.discard(group)
        self.tasks_came([group])

    def note_changes(self, changes: Changes) -> None:
        """Learn what a transaction has changed, and tell whom it concerns."""
        due = [p.timeout_at_ms for p in changes.promises_created if p.armed]
        due += [p.timeout_at_ms for p in changes.promises_updated if p.armed]
        groups: set[str] = set()
        for task in (*changes.tasks_created, *changes.tasks_updated):
            at_ms = task.due_at_ms
            if at_ms is not None:
                due.append(at_ms)
            if task.queued_at_ms is not None:  # nobody here could take it
                groups.add(task.address.group)
        groups.discard("")  # of targets that are no groups
        if groups or changes.unblocks:
            addresses = frozenset(unblock.address for unblock in changes.unblocks)
            self.on_left(News(groups=frozenset(groups), addresses=addresses))
        if due:
            self.on_due(min(due))
        if changes.schedules_created or changes.schedules_updated:
            written = (*changes.schedules_created, *changes.schedules_updated)
            self.on_schedules_written(written)
            at_ms = min((s.due_at_ms for s in written if s.due_at_ms is not None), default=None)
            if at_ms is not None:
                self.on_schedules(at_ms)
        if changes.tasks_created or changes.tasks_updated:
            self.on_changed()

    def failed(self, batch: Batch) -> None:
        """Put background work back, after a pause."""
        self.on_changed()
        if not batch.has_background:
            return

        pids = Counter(each.pid for each in batch.lost)
        self._lost[:0] = batch.lost
        self._lost_waits += pids

        def restore() -> None:
            self._members.look_again(batch.looks)
            self._lost_waits -= pids
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
        elif isinstance(error, RowUnreadable):
            self._go_without(batch, error)
        elif batch.looks and not batch.lost:
            self._look_without(batch, error)
        else:
            log.error("background_rejected", error=str(error))
            self.failed(batch)

    def _look_without(self, batch: Batch, error: Exception) -> None:
        """Look again at a group, without the waiting task that the database refuses to give out."""
        groups = list(batch.looks.groups())
        aside = self._members.asides.refused(groups)
        if aside is None:
            log.error("background_rejected", error=str(error))
            self.failed(batch)
            return
        self._pass_over(aside, groups, error)
        self._members.look_again(batch.looks)
        self._wake()

    def _go_without(self, batch: Batch, error: RowUnreadable) -> None:
        """Do it again at once, without the tasks that cannot be loaded."""
        groups = list(batch.looks.groups())
        found = [self._members.asides.set_aside(task_id) for task_id in error.needed_by]
        asides = [aside for aside in found if aside is not None]
        if not asides:
            log.error("background_rejected", error=str(error))
            self.failed(batch)
            return
        for aside in asides:
            self._pass_over(aside, groups, error)
        self._lost[:0] = batch.lost
        self._members.look_again(batch.looks)
        self._wake()

    def _pass_over(self, aside: Aside, groups: Collection[str], error: Exception) -> None:
        """Say once that a task is set aside, and look for it in these groups after its pause."""
        if aside.tries == 1:
            log.error("queued_task_set_aside", id=aside.id, error=str(error))

        def again() -> None:
            self._members.asides.try_again(aside.id)
            self.tasks_came(groups)

        self._later(aside.pause_s, again)

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
