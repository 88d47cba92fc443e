"""What the store counts, on the hot path: additions to plain numbers.

The names under which it is written out are in `metrics`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

from holdfast.core import requests
from holdfast.core.requests import Request
from holdfast.core.search import PromiseSearch, ScheduleSearch, Search, TaskSearch
from holdfast_store.histograms import (
    BATCH_SECONDS_BOUNDS,
    COUNT_BOUNDS,
    LATENESS_BOUNDS,
    SECONDS_BOUNDS,
    Histogram,
)

OPERATIONS: Final[dict[type[Request | Search], str]] = {
    requests.PromiseGet: "promise.get",
    requests.PromiseCreate: "promise.create",
    requests.PromiseSettle: "promise.settle",
    requests.PromiseRegisterCallback: "promise.register_callback",
    requests.PromiseRegisterListener: "promise.register_listener",
    requests.TaskGet: "task.get",
    requests.TaskCreate: "task.create",
    requests.TaskAcquire: "task.acquire",
    requests.TaskRelease: "task.release",
    requests.TaskFulfill: "task.fulfill",
    requests.TaskSuspend: "task.suspend",
    requests.TaskFence: "task.fence",
    requests.TaskHeartbeat: "task.heartbeat",
    requests.TaskHalt: "task.halt",
    requests.TaskContinue: "task.continue",
    requests.ScheduleGet: "schedule.get",
    requests.ScheduleCreate: "schedule.create",
    requests.ScheduleDelete: "schedule.delete",
    requests.SchedulePause: "schedule.pause",
    PromiseSearch: "promise.search",
    TaskSearch: "task.search",
    ScheduleSearch: "schedule.search",
}


class Counts:
    """The engine's observer, and the servicers' stopwatch."""

    def __init__(self) -> None:
        self.on_batch_failed: Callable[[], None] = lambda: None
        """Told at once when a transaction failed: the database may be away."""
        self._answered: Counter[tuple[str, int]] = Counter()
        self._took: dict[type[Request | Search], Histogram] = {
            cls: Histogram(SECONDS_BOUNDS) for cls in OPERATIONS
        }
        self._batch_seconds = Histogram(BATCH_SECONDS_BOUNDS)
        self._batch_operations = Histogram(COUNT_BOUNDS)
        self._batch_statements = Histogram(COUNT_BOUNDS)
        self._batches_failed: Counter[str] = Counter()
        self._denied: Counter[str] = Counter()
        self._claimed: Counter[str] = Counter(execute=0, unblock=0)
        self._delivered: Counter[str] = Counter(success=0, error=0, dropped=0)
        self._steps: Counter[str] = Counter()
        self._lateness = Histogram(LATENESS_BOUNDS)
        self._schedule_lateness = Histogram(LATENESS_BOUNDS)
        self._schedules_refused = 0
        self._schedules_set_aside = 0
        self._due_rows_refused = 0
        self._due_rows_set_aside = 0
        self._trees_deleted = 0
        self._promises_deleted = 0
        self._retention_lag_s = 0.0
        self._statements = 0
        self._statements_lock = Lock()

    def batch_committed(self, *, operations: int, statements: int, seconds: float) -> None:
        """Count a transaction that committed."""
        self._batch_operations.observe(operations)
        self._batch_statements.observe(statements)
        self._batch_seconds.observe(seconds)

    def batch_failed(self, *, kind: str) -> None:
        """Count a transaction that did not."""
        self._batches_failed[kind] += 1
        self.on_batch_failed()

    def operation_answered(self, *, kind: str, status: int) -> None:
        """Count an operation; one that was skipped was never carried out."""
        if status:
            self._answered[kind, status] += 1

    def requests_took(self, kinds: Sequence[type[Request | Search]], seconds: float) -> None:
        """Count requests that were answered together, `seconds` after they arrived."""
        for kind in kinds:
            self._took[kind].observe(seconds)

    def message_claimed(self, *, kind: str) -> None:
        """Count a message that left the outbox."""
        self._claimed[kind] += 1

    def delivered(self, *, status: str) -> None:
        """Count how a message ended."""
        self._delivered[status] += 1

    def call_denied(self, code: str) -> None:
        """Count what was not carried out for want of a token that allows it."""
        self._denied[code] += 1

    def steps_ran(self, *, kind: str, count: int) -> None:
        """Count steps that the clock caused."""
        self._steps[kind] += count

    def timers_swept(self, lateness_ms: Sequence[int]) -> None:
        """Note how late deadlines and leases were ended."""
        for late_ms in lateness_ms:
            self._lateness.observe(late_ms / 1000)

    def schedules_fired(self, lateness_ms: Sequence[int]) -> None:
        """Note how late occurrences of schedules were fired."""
        for late_ms in lateness_ms:
            self._schedule_lateness.observe(late_ms / 1000)

    def schedule_refused(self) -> None:
        """Count a try to fire a schedule that cannot be fired."""
        self._schedules_refused += 1

    def schedules_set_aside(self, now: int) -> None:
        """Note how many schedules are set aside."""
        self._schedules_set_aside = now

    def due_rows_set_aside(self, *, refused: int, now: int) -> None:
        """Count due rows that the database refused, and keep how many are set aside."""
        self._due_rows_refused += refused
        self._due_rows_set_aside = now

    def trees_deleted(self, *, trees: int, promises: int, lag_ms: int) -> None:
        """Count what retention deleted, and keep how late that was."""
        self._trees_deleted += trees
        self._promises_deleted += promises
        self._retention_lag_s = lag_ms / 1000

    def retention_passed(self) -> None:
        """Know that nothing is left that could be deleted."""
        self._retention_lag_s = 0.0

    def count_statement(self, _text: str) -> None:
        """Count a statement; called on the thread that runs it."""
        with self._statements_lock:
            self._statements += 1

    def statements(self) -> int:
        """Statements so far."""
        return self._statements
