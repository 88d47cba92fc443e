"""Queue statistics: what waits and runs per group, joined with who could take it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from time import monotonic
from typing import Final

from holdfast_store.members import Members
from holdfast_store.replicas import NO_SHARE, Share
from holdfast_store.storage import QueueCounts, Storage, StorageError, StorageUnavailable

REFRESH_S: Final = 1.0
"""Shortest span between two reads of the database, however often somebody asks."""

PAUSE_PER_SECOND: Final = 20.0
"""Pause for each second that a read took: at most a twentieth of the time is spent reading.

A read counts every open task by an index, so that a million of them take a good part of a second.
"""

PAUSE_S_MAX: Final = 10.0
"""A read of any length is not more stale than this, and itself."""

FAILED_PAUSE_S_MAX: Final = 60.0
"""The same behind a read that came to nothing, so that one which never ends in time is rare."""

STALE_S: Final = 30.0
"""Numbers that should have been read anew for so long are not told any more."""

GROUPS_SHOWN_MAX: Final = 200
"""Groups that are told one by one to whoever keeps everything that it is told."""

OTHER_GROUPS: Final = "_other"
"""The name under which all others are told together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The state of one group's work."""

    group: str
    due: int
    running: int
    suspended: int
    halted: int
    oldest_due_age_ms: int
    members: int
    free_credits: int
    counted_age_ms: int = 0
    """How long ago the tasks were counted, while that fails; 0 as long as it does not."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is told of the counts to whoever keeps everything that it is told."""

    names: Sequence[str]
    others: QueueCounts | None = None


def pause_after(took_s: float, *, pause_s_max: float = PAUSE_S_MAX) -> float:
    """Answer how long to leave the database alone after a read."""
    return max(REFRESH_S, min(PAUSE_PER_SECOND * took_s, pause_s_max))


class Statistics:
    """Answers queue statistics from counts that are `REFRESH_S` old, or more where there are many.

    The database is asked by one reader at a time, and seldom enough that the asking takes a bounded
    share of the time, however many ask and however much there is to count. When it fails, as it
    does when counting takes too long, the last numbers are told with their age for a while.
    """

    def __init__(self, storage: Storage, members: Members, *, clock: Callable[[], int]) -> None:
        self._storage = storage
        self._members = members
        self._clock = clock
        self._counts: dict[str, QueueCounts] = {}
        self._shown = _Shown(())
        self._read_at: float | None = None
        self._next_at = 0.0
        self._failure: StorageError | None = None
        self._version = 0
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()
        self._unread = asyncio.Event()
        self._unread.set()
        self._unread_since: float | None = None
        self._reading_since: float | None = None
        self._elsewhere: Mapping[str, Share] = {}
        self.version = 0
        """Which changes the numbers include; for `changed`."""

    def learn(self, elsewhere: Mapping[str, Share]) -> None:
        """Learn what groups have at other stores; a moment old, and gone with a store that is."""
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self.invalidate()

    def invalidate(self) -> None:
        """Learn that the numbers may have changed."""
        self._version += 1
        self._news.set()
        self._unread.set()
        if self._unread_since is None:
            self._unread_since = monotonic()

    async def changed(self, *, since: int) -> None:
        """Return when the numbers may differ from those of a version.

        Each watcher says what it has seen: what one of them reads must not hide the change from
        another that sleeps meanwhile.
        """
        while self._version <= since:
            self._news.clear()
            await self._news.wait()

    async def queues(self, groups: Sequence[str] = ()) -> Sequence[Queue]:
        """Statistics of the named groups, zeros included, or of all that have work or workers."""
        try:
            await self._read_in_time()
        except StorageError:
            if self._read_at is None or monotonic() - self._read_at > STALE_S:
                raise
        names = groups or sorted(
            self._counts.keys() | self._members.groups() | self._elsewhere.keys()
        )
        return [
            self._joined(
                self._counts.get(name) or QueueCounts(group=name),
                self._here(name) + self._elsewhere.get(name, NO_SHARE),
            )
            for name in sorted(set(names))
        ]

    # For whoever only looks at what was read

    async def unread(self) -> None:
        """Return when there is something that nobody has read yet."""
        await self._unread.wait()

    async def refresh(self) -> float:
        """Read for `shown`, unless somebody just did; answer how many seconds that took."""
        started = monotonic()
        await self._read_in_time()
        return monotonic() - started

    def shown(self) -> Sequence[Queue] | None:
        """Tell the last numbers without asking the database; `None` when they are no good.

        Members and credits are those of this store: whoever asks all stores sums them up.

        Groups with members come first, then the others by name, up to a bound; the rest is told
        as one, so that whoever names groups in targets cannot make the answer grow.
        """
        waiting = [at for at in (self._unread_since, self._reading_since) if at is not None]
        is_stale = waiting and monotonic() - min(waiting) > STALE_S
        if self._read_at is None or self._failure is not None or is_stale:
            return None
        queues = [
            self._joined(self._counts.get(name) or QueueCounts(group=name), self._here(name))
            for name in self._shown.names
        ]
        if self._shown.others is not None:
            queues.append(self._others(self._shown.others))
        return queues

    # Reading

    async def _read_in_time(self) -> None:
        """Read, unless somebody just did; raise what keeps it from being read."""
        async with self._reading:
            if monotonic() >= self._next_at:
                await self._read()
            elif self._failure is not None:
                raise StorageUnavailable(str(self._failure))

    async def _read(self) -> None:
        waiting, self._unread_since = self._unread_since, None
        self._reading_since = monotonic() if waiting is None else waiting
        self._unread.clear()
        started = monotonic()
        version = self._version
        try:
            counts = await self._storage.queue_counts(now_ms=self._clock())
            # In a thread, since there may be a group for each of a million callers.
            self._shown = await asyncio.to_thread(_choose, counts, self._members.groups())
        except BaseException as error:
            self._unread_since = self._reading_since
            self._unread.set()
            if isinstance(error, StorageError):
                self._failure = error
                took_s = monotonic() - started
                self._next_at = monotonic() + pause_after(took_s, pause_s_max=FAILED_PAUSE_S_MAX)
            raise
        finally:
            self._reading_since = None
        self._counts = {c.group: c for c in counts}
        self._failure = None
        self.version = version
        self._read_at = monotonic()
        self._next_at = self._read_at + pause_after(self._read_at - started)

    def _others(self, counts: QueueCounts) -> Queue:
        rest = self._members.groups().difference(self._shown.names)
        return self._joined(counts, sum(map(self._here, rest), NO_SHARE))

    def _here(self, group: str) -> Share:
        return Share(self._members.workers(group), self._members.free_credits(group))

    def _joined(self, counts: QueueCounts, share: Share) -> Queue:
        oldest = counts.oldest_due_at_ms
        return Queue(
            group=counts.group,
            due=counts.due,
            running=counts.running,
            suspended=counts.suspended,
            halted=counts.halted,
            oldest_due_age_ms=0 if oldest is None else max(0, self._clock() - oldest),
            members=share.members,
            free_credits=share.free_credits,
            counted_age_ms=self._kept_ms(),
        )

    def _kept_ms(self) -> int:
        """How long the numbers were kept for want of better ones."""
        if self._failure is None or self._read_at is None:
            return 0
        return max(1, round((monotonic() - self._read_at) * 1000))


def _choose(counts: Sequence[QueueCounts], with_members: frozenset[str]) -> _Shown:
    """Choose the groups that are told one by one, and sum the others up."""
    every = {c.group for c in counts} | with_members
    names = nsmallest(
        GROUPS_SHOWN_MAX, every - {OTHER_GROUPS}, key=lambda name: (name not in with_members, name)
    )
    if len(names) == len(every):
        return _Shown(names)
    kept = frozenset(names)
    rest = [c for c in counts if c.group not in kept]
    instants = [c.oldest_due_at_ms for c in rest if c.oldest_due_at_ms is not None]
    others = QueueCounts(
        group=OTHER_GROUPS,
        due=sum(c.due for c in rest),
        running=sum(c.running for c in rest),
        suspended=sum(c.suspended for c in rest),
        halted=sum(c.halted for c in rest),
        oldest_due_at_ms=min(instants, default=None),
    )
    return _Shown(names, others)
