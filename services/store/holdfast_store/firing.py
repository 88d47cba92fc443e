"""Schedules that are due are fired: each occurrence creates its promise, exactly once.

What is due is read first, so that the ids of the promises are known when a transaction begins. The
transaction locks the schedules, passes over those that another store has in hand or has fired
meanwhile, creates the promises and advances the schedules: all of it stands or none. It takes so
many occurrences at most, however many were missed; the next one goes on.

A schedule that cannot be fired is set aside for a while, so that it delays no other: the database
refuses it, its time zone is gone, or somebody has damaged its row.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.core.cron import InvalidCron
from holdfast.core.records import Schedule
from holdfast.core.schedule import Due, due_by
from holdfast_chassis.logs import get_logger
from holdfast_store.observer import Observer
from holdfast_store.sizes import schedule_bytes
from holdfast_store.storage import Storage, StorageError, UnreadableSchedule

log = get_logger(__name__)

OCCURRENCES_MAX: Final = 256
"""Of one transaction: missed ones must not keep callers waiting for the database."""
BYTES_MAX: Final = 8 * 1_048_576
"""Payloads of one transaction; one occurrence goes in any case."""

PAUSE_MS_MIN: Final = 1_000
PAUSE_MS_MAX: Final = 600_000
"""Pauses, each twice the one before, of a schedule that cannot be fired."""
GONE_AFTER_MS: Final = 60_000
"""How long after its pause a schedule that is still due has been tried again at the latest."""
ASIDE_MAX: Final = 10_000
"""Schedules that are remembered as set aside although they may be gone. Those that are due are
never forgotten for being many: they would be found again at once, before all others."""


class FiringRefused(StorageError):
    """The database refuses what schedules would create."""


Fire = Callable[[Sequence[Due], int | None], Awaitable[list[int]]]
"""Carries out one transaction; answers how late each occurrence was. Raises a `StorageError`."""


@dataclass(slots=True)
class _Aside:
    """A schedule that could not be fired."""

    until_ms: int
    tries: int
    reason: str


class Firing:
    """Fires what is due; one caller at a time, of whom a replica may be another."""

    def __init__(
        self, storage: Storage, fire: Fire, *, clock: Callable[[], int], observer: Observer
    ) -> None:
        self._storage = storage
        self._fire = fire
        self._clock = clock
        self._observer = observer
        self._aside: dict[str, _Aside] = {}

    async def fire_due(self, *, at_ms: int | None = None) -> int:
        """Fire everything that is due now, or at an instant; answer how many occurrences.

        Bounded per transaction, and not in all. What another store has in hand is left to it.
        Raises a `StorageError`; what was fired before stands.
        """
        fired = 0
        while some := await self.fire_some(at_ms=at_ms):
            fired += some
        return fired

    async def fire_some(self, *, at_ms: int | None = None) -> int:
        """Fire what fits into one transaction; answer how many occurrences, 0 if none is due."""
        while True:
            now_ms = self._clock() if at_ms is None else at_ms
            found = await self._storage.due_schedules(
                now_ms=now_ms,
                limit=OCCURRENCES_MAX,
                bytes_max=BYTES_MAX,
                skip=self._skipped(now_ms),
            )
            if not found:
                return 0
            dues = self._planned(found, now_ms)
            fired = await self._fire_planned(dues, at_ms, now_ms) if dues else None
            if fired is not None:
                return fired
            if self._skipped(now_ms).isdisjoint(each.id for each in found):
                return 0  # another store has fired them while they were read
            # What was found has been set aside: there may be others behind it.

    async def _fire_planned(
        self, dues: Sequence[Due], at_ms: int | None, now_ms: int
    ) -> int | None:
        """Fire in one transaction, or one by one; `None` when all of them were refused."""
        try:
            fired = len(await self._fire(dues, at_ms))
        except FiringRefused as error:
            if len(dues) > 1:
                return await self._fire_each(dues, at_ms, now_ms)
            self._set_aside(dues[0].schedule.id, str(error), now_ms)
            return None
        self.reconsider(due.schedule for due in dues)
        return fired

    def reconsider(self, written: Iterable[Schedule]) -> None:
        """Learn of schedules that are not as they were: what was refused may be right now."""
        if not self._aside:
            return
        for schedule in written:
            self._aside.pop(schedule.id, None)
        self._count(self._clock())

    async def flaw_at(self, at_ms: int) -> str | None:
        """Say why schedules that are due are set aside; `None` while others are due as well."""
        skipped = self._skipped(at_ms)
        others = await self._storage.due_schedules(now_ms=at_ms, limit=1, bytes_max=1, skip=skipped)
        if others or not skipped:
            return None
        return "; ".join(f"{each}: {self._aside[each].reason}" for each in sorted(skipped))

    def forget(self) -> None:
        """Learn that there are no schedules any more."""
        self._aside.clear()
        self._count(self._clock())

    async def next_at_ms(self) -> int | None:
        """Find when there is something to fire; for what is set aside, when its pause ends."""
        now_ms = self._clock()
        skipped = self._skipped(now_ms)
        if not skipped:
            return await self._storage.next_schedule_at_ms()
        pause_ends_ms = min(self._aside[schedule_id].until_ms for schedule_id in skipped)
        due = await self._storage.due_schedules(
            now_ms=pause_ends_ms, limit=1, bytes_max=1, skip=skipped
        )
        return due[0].next_run_at_ms if due else pause_ends_ms

    def _planned(self, found: Sequence[Schedule | UnreadableSchedule], now_ms: int) -> list[Due]:
        """Plan what fits into one transaction, and a share of it for each schedule."""
        share = OCCURRENCES_MAX // max(1, len(found))
        left = BYTES_MAX
        dues: list[Due] = []
        for schedule in found:
            if isinstance(schedule, UnreadableSchedule):
                self._set_aside(schedule.id, schedule.reason, now_ms)
                continue
            size = 1 + schedule_bytes(schedule)
            limit = min(max(1, share), left // size)
            if limit < 1 and dues:
                break
            try:
                due = due_by(schedule, now_ms=now_ms, limit=max(1, limit))
            except InvalidCron as error:
                self._set_aside(schedule.id, str(error), now_ms)
                continue
            if due.occurrences:
                dues.append(due)
                left -= size * len(due.occurrences)
        return dues

    async def _fire_each(self, dues: Sequence[Due], at_ms: int | None, now_ms: int) -> int | None:
        """Look for the one that the database refuses; `None` when it refuses each of them."""
        fired = refused = 0
        for due in dues:
            try:
                fired += len(await self._fire([due], at_ms))
            except FiringRefused as error:
                self._set_aside(due.schedule.id, str(error), now_ms)
                refused += 1
            else:
                self.reconsider([due.schedule])
        return None if refused == len(dues) else fired

    def _skipped(self, now_ms: int) -> frozenset[str]:
        if len(self._aside) > ASIDE_MAX:
            # What is due still is found, and set aside again, soon after its pause.
            gone_ms = now_ms - PAUSE_MS_MAX
            self._aside = {i: each for i, each in self._aside.items() if each.until_ms > gone_ms}
        self._count(now_ms)
        return frozenset(i for i, aside in self._aside.items() if aside.until_ms > now_ms)

    def _set_aside(self, schedule_id: str, reason: str, now_ms: int) -> None:
        """Leave a schedule alone for longer each time; say so once for each reason."""
        known = self._aside.get(schedule_id)
        tries = 1 if known is None else known.tries + 1
        pause_ms = min(PAUSE_MS_MIN * 2 ** min(tries - 1, 16), PAUSE_MS_MAX)
        self._aside[schedule_id] = _Aside(until_ms=now_ms + pause_ms, tries=tries, reason=reason)
        is_known = known is not None and known.reason == reason
        (log.debug if is_known else log.error)(
            "schedule_set_aside",
            id=schedule_id,
            tries=tries,
            pause_s=pause_ms / 1000,
            error=reason,
        )
        self._observer.schedule_refused()
        self._count(now_ms)

    def _count(self, now_ms: int) -> None:
        """Tell how many are set aside; what is not found again, somebody has mended or deleted."""
        gone_ms = now_ms - GONE_AFTER_MS
        now = sum(each.until_ms > gone_ms for each in self._aside.values())
        self._observer.schedules_set_aside(now)
