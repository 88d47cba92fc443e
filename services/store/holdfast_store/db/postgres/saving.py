"""What a batch writes to PostgreSQL, in one statement: each one more is a way there and back.

Under little load most of a transaction's time is spent between its statements. So everything is
written together, by a text that is put together of what there is to write and prepared like any
other. A batch of one operation and one of a thousand have the same.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from holdfast.core.working_set import Changes
from holdfast_store.db import rows, schedule_rows
from holdfast_store.db.postgres.array_texts import array_text
from holdfast_store.db.postgres.known import revised
from holdfast_store.db.postgres.statements import LockingStatements
from holdfast_store.db.rows import Row

TEXTS_MAX: Final = 1_000
"""Combinations that are kept; there are a few dozen under any one load."""

_PARAMETER: Final = re.compile(r"\$(\d+)")
_LIST: Final = re.compile(r"\$(\d+)::\w+\[\]")


class Part(NamedTuple):
    """A statement that writes all rows of a kind, and the rows."""

    text: str
    rows: Sequence[Row]
    same: Row = ()
    """What stands before the columns: the values that are the same in all rows."""

    @property
    def parameters(self) -> list[object]:
        """List what the statement is given, a column as it wants it: as an array or its text."""
        first, lists = len(self.same) + 1, _lists(self.text)
        columns = enumerate(zip(*self.rows, strict=True), first)
        return [*self.same, *(c if number in lists else array_text(c) for number, c in columns)]


@lru_cache(maxsize=TEXTS_MAX)
def _lists(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in _LIST.findall(text))


@dataclass(frozen=True, slots=True)
class Saving:
    """What a batch writes."""

    before: Sequence[Part]
    """Deletes whose rows are written again: a statement does not see what its own parts do."""
    together: Sequence[Part]

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.together)

    @property
    def texts(self) -> Sequence[str]:
        """List the statements that are put together."""
        return [part.text for part in self.together]

    @property
    def parameters(self) -> list[object]:
        """List what all of them are given."""
        return [parameter for part in self.together for parameter in part.parameters]


def saving_of(changes: Changes, texts: LockingStatements, *, revision: int) -> Saving:
    """List what a batch writes.

    Every promise gets the revision that changes, or whose task or obligations do.
    """
    callbacks = [(c.awaited, c.awaiter, c.wait_version) for c in changes.callbacks_saved]
    obligations = (
        (texts.callback_delete, changes.callbacks_removed, texts.callback_save, callbacks),
        (
            *(texts.listeners_delete, [(key,) for key in changes.listeners_cleared]),
            *(texts.listener_save, changes.listeners_added),
        ),
        (
            *(texts.resumes_delete, [(key,) for key in changes.resumes_cleared]),
            *(texts.resume_insert, changes.resumes_added),
        ),
    )
    before = [Part(text, gone) for text, gone, _, new in obligations if _overlap(gone, new)]
    beside = [Part(text, gone) for text, gone, _, new in obligations if not _overlap(gone, new)]
    # By id: two that create the same promises wait for each other's, and not in a circle.
    created = sorted(changes.promises_created, key=attrgetter("id"))
    updated = changes.promises_updated
    concerned = revised(changes).difference(promise.id for promise in updated)
    messages = {(u.address, u.promise_id): u.enqueued_at_ms for u in changes.unblocks}
    together = [
        Part(texts.promise_insert, _each(rows.promise_inserted, created), (revision,)),
        Part(texts.task_insert, rows.tasks_inserted(changes)),
        Part(texts.promise_update, _each(rows.promise_updated, updated), (revision,)),
        Part(texts.promise_revise, [(promise_id,) for promise_id in concerned], (revision,)),
        Part(texts.task_update, _each(rows.task_updated, changes.tasks_updated)),
        *beside,
        *(Part(text, new) for _, _, text, new in obligations),
        # One row can be replaced once by a statement, and in one order by all who write.
        Part(texts.unblock_save, [(*key, at) for key, at in sorted(messages.items())]),
        *_schedule_parts(changes, texts),
    ]
    return Saving(before, [part for part in together if part.rows])


def _overlap(gone: Sequence[Row], new: Sequence[Row]) -> bool:
    """Whether a row is written whose key is among those that are deleted."""
    if not gone or not new:
        return False
    width = len(gone[0])
    return not {row[:width] for row in new}.isdisjoint(map(tuple, gone))


def _schedule_parts(changes: Changes, texts: LockingStatements) -> Sequence[Part]:
    created = sorted(changes.schedules_created, key=attrgetter("id"))
    updated = changes.schedules_updated
    return (
        Part(texts.schedule_insert, _each(schedule_rows.schedule_inserted, created)),
        Part(texts.schedule_update, _each(schedule_rows.schedule_updated, updated)),
        Part(texts.schedule_delete, [(key,) for key in changes.schedules_deleted]),
    )


def _each(write: Callable[[Any], Row], records: Sequence[object]) -> list[Row]:
    return [write(record) for record in records]


@lru_cache(maxsize=TEXTS_MAX)
def joined(texts: Sequence[str]) -> str:
    """Make one statement of several, with all their parameters in order; the last one answers.

    PostgreSQL carries out parts that nobody refers to from the last to the first. They stand in
    reverse, so that all who write wait for each other in the same order, the one of `texts`.
    """
    numbered = []
    given = 0
    for text in texts:
        numbered.append(_renumbered(text, by=given))
        given += max((int(number) for number in _PARAMETER.findall(text)), default=0)
    *parts, answer = numbered
    if not parts:
        return answer
    named = [f"part_{number} AS ({part})" for number, part in enumerate(parts)]
    return f"WITH {', '.join(reversed(named))} {answer}"


def _renumbered(text: str, *, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", text)
