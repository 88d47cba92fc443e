"""Waiting tasks that the database refuses to give out, set aside so that they delay no other.

A look gives out many tasks in one transaction. When the database refuses that, nobody knows which
of them it meant: the next look at the group may give out half as many, until the culprit is alone.
It is passed over from then on and tried again after pauses that grow. So is one whose row is
damaged, which whoever read it knows at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PAUSE_S_MIN: Final = 1.0
PAUSE_S_MAX: Final = 300.0
ASIDE_MAX: Final = 100
"""Tasks that are set aside at once; a database that refuses more has another trouble, and each of
them costs it a transaction."""
BOUND_MAX: Final = 1_024
"""What a look passes over at most: above it a bound bounds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A task that was set aside, for how long, and how often it was refused by now."""

    id: str
    pause_s: float
    tries: int


class Asides:
    """What may be given out by a look, group by group."""

    def __init__(self) -> None:
        self._bounds: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._skipped: set[str] = set()
        self._undone: Sequence[str] = ()

    @property
    def skipped(self) -> frozenset[str]:
        """Tasks that are not even loaded now."""
        return frozenset(self._skipped)

    def may_place(self, *, group: str, placed: int) -> bool:
        """Whether a look that has placed so many tasks of a group may place one more."""
        return placed < self._bounds.get(group, BOUND_MAX)

    def undone(self, task_ids: Sequence[str]) -> None:
        """Learn what a transaction would have given out that did not commit."""
        self._undone = task_ids

    def refused(self, groups: Sequence[str]) -> Aside | None:
        """Learn that the database refused the look of the transaction that was undone last.

        Answers the culprit once it is found. Without one, the look is worth a pause.
        """
        undone, self._undone = self._undone, ()
        if len(undone) != 1:
            for group in groups if undone else ():
                self._bounds[group] = len(undone) // 2
            return None
        return self.set_aside(undone[0])

    def set_aside(self, task_id: str) -> Aside | None:
        """Pass a task over from now on; without an answer it is already, or too many are."""
        if task_id in self._skipped or len(self._skipped) >= ASIDE_MAX:
            return None
        if len(self._tries) >= ASIDE_MAX and task_id not in self._tries:
            self._tries.pop(next(iter(self._tries)))
        tries = self._tries[task_id] = self._tries.get(task_id, 0) + 1
        self._skipped.add(task_id)
        return Aside(
            id=task_id, pause_s=min(PAUSE_S_MIN * 2 ** min(tries - 1, 16), PAUSE_S_MAX), tries=tries
        )

    def try_again(self, task_id: str) -> None:
        """Let a task be given out once more."""
        self._skipped.discard(task_id)

    def committed(self, groups: Sequence[str], given: Sequence[str]) -> list[str]:
        """Learn that looks at groups stand, and what they gave out.

        Answers the groups whose looks were held back: there is more for them to do.
        """
        for task_id in given if self._tries else ():
            self._tries.pop(task_id, None)
        held_back = [group for group in groups if group in self._bounds]
        for group in held_back:
            bound = 2 * self._bounds.pop(group)
            if bound < BOUND_MAX:
                self._bounds[group] = bound
        return held_back
