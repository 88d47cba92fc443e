"""Instants that callers name, in debug mode: each operation is judged at its own (§6.2).

Time may go back from one operation to the next, and operations of different times may arrive
together: what is decided in one transaction has one instant, so that they part ways.
"""

from collections.abc import Iterable

from holdfast_store.batches import Batch, Committed, Entry
from holdfast_store.storage import StorageError, StorageUnavailable


def of_one_instant_each(batch: Batch, *, stage_ms: int | None) -> list[Batch]:
    """Take a batch apart, in the order in which it would have been decided.

    What the store does with its members has no instant of its own: it takes place on the stage
    that the last operation with one has set, `stage_ms` at first. By the clock, leases would be
    taken ages behind the time of the test. A sweep that the clock asked for stays with the clock.
    """
    parts: list[Batch] = []
    if batch.lost:
        parts.append(Batch(lost=batch.lost, at_ms=stage_ms))
    for part in _grouped(batch.entries):
        parts.append(part)
        stage_ms = stage_ms if part.at_ms is None else part.at_ms
    if batch.looks:
        parts.append(Batch(looks=batch.looks, at_ms=stage_ms))
    if batch.due or batch.suspects.ids:  # what fires has batches of its own
        parts.append(Batch(due=batch.due, suspects=batch.suspects))
    return parts


def _grouped(entries: Iterable[Entry]) -> list[Batch]:
    groups: list[Batch] = []
    for entry in entries:
        if not groups or groups[-1].at_ms != entry.at_ms:
            groups.append(Batch(at_ms=entry.at_ms))
        groups[-1].entries.append(entry)
    return groups


class Pass:
    """One pass of a tick: a sweep at an instant, and how it ended (`runner.Made`)."""

    def __init__(self) -> None:
        self._committed: Committed | None = None
        self._error: StorageError | None = None
        self.is_refused = False
        """Whether the database refuses the data of what is due."""

    def committed(self, _batch: Batch, committed: Committed) -> None:
        """Learn that the pass stands."""
        self._committed = committed

    def failed(self, _batch: Batch) -> None:
        """Learn that the pass was not done."""
        self._error = StorageUnavailable("a pass of the tick was not done, those before it are")

    async def refused(self, _batch: Batch, error: Exception) -> None:
        """Learn that the database refuses a row that is due."""
        self.is_refused = True
        self._error = StorageError(f"the database refuses what is due: {error}")

    def result(self) -> Committed:
        """Answer what was done; raise a `StorageError` when nothing was."""
        if self._error is not None:
            raise self._error
        if self._committed is None:
            raise StorageError("the pass of the tick broke; the log says how")
        return self._committed
