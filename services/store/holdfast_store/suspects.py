"""Due rows that the database refused, set aside so that they delay no other.

What the clock makes due is swept together. When the database refuses that, nobody knows which row
it meant: all of them are suspects, which are swept in halves until the culprit is alone. It is set
aside and tried by itself after pauses that grow; everything else is swept as ever.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast_store.storage import Armed

PAUSE_S_MIN: Final = 1.0
PAUSE_S_MAX: Final = 600.0

ASIDE_MAX: Final = 10_000
"""Rows that are set aside; a database that refuses more has another trouble than its rows."""


@dataclass(frozen=True, slots=True)
class DueRows:
    """Promises whose deadlines, and tasks whose leases or dispatches are due."""

    promises: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Each id once; a promise and its task share theirs."""
        return list(dict.fromkeys((*self.promises, *self.tasks)))

    def only(self, ids: Sequence[str]) -> "DueRows":
        """Keep the rows with these ids."""
        kept = frozenset(ids)
        return DueRows(
            tuple(i for i in self.promises if i in kept), tuple(i for i in self.tasks if i in kept)
        )


NO_ROWS: Final = DueRows()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A row was set aside."""

    id: str
    tries: int
    pause_s: float


class Suspects:
    """Which rows are under suspicion, and which are set aside.

    Invariant: every id that is in either is in `skipped`, so that no ordinary sweep meets it.
    """

    def __init__(self) -> None:
        self._parts: deque[DueRows] = deque()
        self._suspected: set[str] = set()
        self._tries: dict[str, int] = {}

    @property
    def skipped(self) -> frozenset[str]:
        """Ids that ordinary sweeps leave out."""
        if not self._suspected and not self._tries:
            return frozenset()
        return frozenset(self._suspected.union(self._tries))

    @property
    def set_aside(self) -> int:
        """How many rows are set aside."""
        return len(self._tries)

    def suspect(self, armed: Armed, *, now_ms: int) -> bool:
        """Suspect everything that is due by now and not known yet; answer whether there is any."""
        known = self.skipped
        rows = DueRows(
            tuple(i for at_ms, i in armed.promises if at_ms <= now_ms and i not in known),
            tuple(i for at_ms, i in armed.tasks if at_ms <= now_ms and i not in known),
        )
        if len(known) + len(rows.ids) > ASIDE_MAX or not rows.ids:
            return False
        self._suspected.update(rows.ids)
        self._parts.append(rows)
        return True

    def next_part(self) -> DueRows:
        """Take rows to be swept by themselves; none when there are no suspects."""
        return self._parts.popleft() if self._parts else NO_ROWS

    def cleared(self, rows: DueRows) -> None:
        """Learn that the database took rows."""
        self._suspected.difference_update(rows.ids)
        for row_id in rows.ids:
            self._tries.pop(row_id, None)

    def refused(self, rows: DueRows) -> Pause | None:
        """Learn that the database refused rows: look closer, or set the only one aside."""
        ids = rows.ids
        if len(ids) > 1:
            middle = len(ids) // 2
            self._parts.extend((rows.only(ids[:middle]), rows.only(ids[middle:])))
            return None
        [culprit] = ids
        self._suspected.discard(culprit)
        tries = self._tries[culprit] = self._tries.get(culprit, 0) + 1
        doublings = min(tries - 1, 32)  # a pause that is never over is not worth an overflow
        pause_s = min(PAUSE_S_MIN * 2**doublings, PAUSE_S_MAX)
        return Pause(id=culprit, tries=tries, pause_s=pause_s)

    def forget(self) -> None:
        """Learn that none of the rows is there any more."""
        self._parts.clear()
        self._suspected.clear()
        self._tries.clear()

    def try_again(self, rows: DueRows) -> None:
        """Learn that a pause is over: of a row, or of a database that took nothing at all."""
        self._parts.append(rows)
