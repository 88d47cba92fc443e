"""What the engine tells whoever counts: one call per event, no ids, values from closed sets."""

from collections.abc import Sequence
from typing import Protocol


class Observer(Protocol):
    """Receives counts; must return at once and never raise."""

    def batch_committed(self, *, operations: int, statements: int, seconds: float) -> None:
        """Count a transaction that committed."""

    def batch_failed(self, *, kind: str) -> None:
        """Count a transaction that did not commit; `kind` is the storage error's class name."""

    def operation_answered(self, *, kind: str, status: int) -> None:
        """Count an operation that got its answer."""

    def message_claimed(self, *, kind: str) -> None:
        """Count an `execute` or `unblock` that left the outbox."""

    def delivered(self, *, status: str) -> None:
        """Count a message handed to a stream (`success`), or left by all (`dropped`)."""

    def steps_ran(self, *, kind: str, count: int) -> None:
        """Count steps: `promise_timeout`, `lease_expiry`, `dispatch`, `lost`."""

    def timers_swept(self, lateness_ms: Sequence[int]) -> None:
        """Note how late each deadline and each lease was ended by the sweep that found it."""

    def schedules_fired(self, lateness_ms: Sequence[int]) -> None:
        """Count occurrences of schedules, and note how late each was fired."""

    def schedule_refused(self) -> None:
        """Count a try to fire a schedule that cannot be fired."""

    def schedules_set_aside(self, now: int) -> None:
        """Note how many schedules are set aside now: those that could not be fired."""

    def due_rows_set_aside(self, *, refused: int, now: int) -> None:
        """Count due rows that the database refused, and note how many are set aside now."""

    def trees_deleted(self, *, trees: int, promises: int, lag_ms: int) -> None:
        """Count what retention deleted, and note how long ago it might have been."""

    def retention_passed(self) -> None:
        """Note that retention has looked at everything."""


class NullObserver:
    """Counts nothing."""

    def batch_committed(self, *, operations: int, statements: int, seconds: float) -> None:
        """Ignore."""

    def batch_failed(self, *, kind: str) -> None:
        """Ignore."""

    def operation_answered(self, *, kind: str, status: int) -> None:
        """Ignore."""

    def message_claimed(self, *, kind: str) -> None:
        """Ignore."""

    def delivered(self, *, status: str) -> None:
        """Ignore."""

    def steps_ran(self, *, kind: str, count: int) -> None:
        """Ignore."""

    def timers_swept(self, lateness_ms: Sequence[int]) -> None:
        """Ignore."""

    def schedules_fired(self, lateness_ms: Sequence[int]) -> None:
        """Ignore."""

    def schedule_refused(self) -> None:
        """Ignore."""

    def schedules_set_aside(self, now: int) -> None:
        """Ignore."""

    def due_rows_set_aside(self, *, refused: int, now: int) -> None:
        """Ignore."""

    def trees_deleted(self, *, trees: int, promises: int, lag_ms: int) -> None:
        """Ignore."""

    def retention_passed(self) -> None:
        """Ignore."""
