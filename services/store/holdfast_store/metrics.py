"""What the store counts, and how it is written out.

Counting happens on the hot path, so that it is additions to plain numbers; the metrics library
sees them only when somebody scrapes. Names that begin with `resonate_` repeat ours under the
protocol's names (§7.3), so that its public dashboard works.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from holdfast.core import requests
from holdfast.core.requests import Request
from holdfast.core.search import PromiseSearch, ScheduleSearch, Search, TaskSearch
from holdfast_store.loops.neighbors import Neighborhood
from holdfast_store.members import MemberStatus
from holdfast_store.statistics import Queue

SECONDS_BOUNDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""The default buckets of Prometheus clients, as the protocol's dashboard expects."""

LATENESS_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 300.0, 3600.0),
)
"""Down to the milliseconds of a good day, up to the hours that a store was away."""

BATCH_SECONDS_BOUNDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
COUNT_BOUNDS: Final = tuple(2.0**n for n in range(11))

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
_BY_CLASS_NAME: Final = {cls.__name__: name for cls, name in OPERATIONS.items()}


_OF_QUEUES: Final[tuple[tuple[str, str, Callable[[Queue], float]], ...]] = (
    ("depth", "Tasks that are due and that no member has.", lambda q: q.due),
    ("running", "Tasks that a member holds a lease on.", lambda q: q.running),
    ("suspended", "Tasks that wait for a promise.", lambda q: q.suspended),
    ("halted", "Tasks that wait for a person.", lambda q: q.halted),
    (
        "oldest_due_age_seconds",
        "How long the oldest due task has waited; 0 without one.",
        lambda q: q.oldest_due_age_ms / 1000,
    ),
    ("members", "Processes of the group that take tasks.", lambda q: q.members),
    ("free_credits", "Tasks that the members of the group could take.", lambda q: q.free_credits),
)
"""Per group; beyond 200 groups the rest is summed up under the name `_other`."""


_OF_NEIGHBORS: Final[tuple[tuple[str, str, Callable[[Neighborhood], float]], ...]] = (
    ("others", "Other stores on the database that are alive.", lambda n: n.stores),
    (
        "listening",
        "1 while messages of other stores are heard, 0 while the database is asked instead.",
        lambda n: n.is_listening,
    ),
    (
        "settling",
        "1 while messages may be missing, so that everything is looked at every second.",
        lambda n: n.is_settling,
    ),
)
_COUNTED_OF_NEIGHBORS: Final[tuple[tuple[str, str, Callable[[Neighborhood], float]], ...]] = (
    ("told", "Batches that left something to members of other stores.", lambda n: n.told),
    ("heard", "Messages of other stores, signs of life included.", lambda n: n.heard),
    ("looks", "Looks at everything, for what no message has told.", lambda n: n.looks),
)
"""Only of a store whose database others may use too."""


class _Histogram:
    """Observations counted into buckets."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds with how many observations are at most that, as Prometheus wants them."""
        names = [*map(repr, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class Metrics(Collector):
    """The engine's observer, the servicers' stopwatch, and the collector of both.

    `members` answers who is connected when somebody scrapes.
    """

    def __init__(self) -> None:
        self.members: Callable[[], Sequence[MemberStatus]] = tuple
        self.queues: Callable[[], Sequence[Queue] | None] = lambda: None
        """Answers what waits per group, as it was read last; `None` while it cannot be known."""
        self.neighborhood: Callable[[], Neighborhood | None] = lambda: None
        """Answers how it goes with other stores; `None` where there can be none."""
        self.schedule_lag_ms: Callable[[], int] = lambda: 0
        """Answers how long the next planned instant has been waiting to be fired."""
        self.on_batch_failed: Callable[[], None] = lambda: None
        """Told at once when a transaction failed: the database may be away."""
        self._answered: Counter[tuple[str, int]] = Counter()
        self._took: dict[type[Request | Search], _Histogram] = {
            cls: _Histogram(SECONDS_BOUNDS) for cls in OPERATIONS
        }
        self._batch_seconds = _Histogram(BATCH_SECONDS_BOUNDS)
        self._batch_operations = _Histogram(COUNT_BOUNDS)
        self._batch_statements = _Histogram(COUNT_BOUNDS)
        self._batches_failed: Counter[str] = Counter()
        self._denied: Counter[str] = Counter()
        self._claimed: Counter[str] = Counter(execute=0, unblock=0)
        self._delivered: Counter[str] = Counter(success=0, error=0, dropped=0)
        self._steps: Counter[str] = Counter()
        self._lateness = _Histogram(LATENESS_BOUNDS)
        self._schedule_lateness = _Histogram(LATENESS_BOUNDS)
        self._schedules_refused = 0
        self._due_rows_refused = 0
        self._due_rows_set_aside = 0
        self._trees_deleted = 0
        self._promises_deleted = 0
        self._retention_lag_s = 0.0
        self._statements = 0
        self._statements_lock = Lock()

    # What is counted

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

    # How it is written out

    def describe(self) -> Iterable[Metric]:
        """Register without collecting."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Write everything out."""
        yield from self._requests()
        yield from self._batches()
        yield from self._messages()
        yield from self._timers()
        yield from self._schedules()
        yield from self._retention()
        yield from self._now()
        yield from self._queues()
        yield from self._replicas()

    def _requests(self) -> Iterator[Metric]:
        answered = [
            ((_BY_CLASS_NAME[kind], str(status)), count)
            for (kind, status), count in sorted(self._answered.items())
        ]
        help_ = "Operations that were answered, by what they answered."
        yield _counter("holdfast_store_requests", help_, ("operation", "status"), answered)
        yield _counter("resonate_request", help_, ("kind", "status"), answered)
        yield _counter(
            "holdfast_store_calls_denied",
            "Calls, and operations of streams, whose token was missing, bad or did not cover them,"
            " by code.",
            ("code",),
            [((code,), count) for code, count in sorted(self._denied.items())],
        )
        help_ = "Time from the arrival of an operation to its answer."
        for name, label in (
            ("holdfast_store_request_duration_seconds", "operation"),
            ("resonate_request_duration_seconds", "kind"),
        ):
            family = HistogramMetricFamily(name, help_, labels=[label])
            for cls, histogram in self._took.items():
                if not any(histogram.counts):
                    continue
                family.add_metric([OPERATIONS[cls]], histogram.buckets(), histogram.total)
            yield family

    def _batches(self) -> Iterator[Metric]:
        for name, help_, histogram in (
            ("duration_seconds", "Time of one transaction, commit included.", self._batch_seconds),
            ("operations", "Operations in one transaction.", self._batch_operations),
            ("statements", "Statements of one transaction.", self._batch_statements),
        ):
            family = HistogramMetricFamily(f"holdfast_store_batch_{name}", help_)
            family.add_metric([], histogram.buckets(), histogram.total)
            yield family
        yield _counter(
            "holdfast_store_batches_failed",
            "Transactions that did not commit, by what went wrong.",
            ("kind",),
            [((kind,), count) for kind, count in self._batches_failed.items()],
        )
        yield CounterMetricFamily(
            "holdfast_store_statements", "Statements sent to the database.", self._statements
        )

    def _messages(self) -> Iterator[Metric]:
        claimed = [((kind,), count) for kind, count in self._claimed.items()]
        help_ = "Messages that left the outbox."
        yield _counter("holdfast_store_messages", help_, ("kind",), claimed)
        yield _counter("resonate_messages", help_, ("kind",), claimed)
        delivered = [((status,), count) for status, count in self._delivered.items()]
        help_ = "Messages by how their delivery ended."
        yield _counter("holdfast_store_deliveries", help_, ("status",), delivered)
        yield _counter("resonate_deliveries", help_, ("status",), delivered)
        yield _counter(
            "holdfast_store_steps",
            "Steps that the clock or a lost stream caused, by kind.",
            ("kind",),
            [((kind,), count) for kind, count in self._steps.items()],
        )

    def _timers(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "holdfast_store_timer_lateness_seconds",
            "Time from a deadline, or the end of a lease, to the sweep that ended it.",
        )
        family.add_metric([], self._lateness.buckets(), self._lateness.total)
        yield family
        yield CounterMetricFamily(
            "holdfast_store_due_rows_refused",
            "Due rows that the database refused by themselves, each try counted.",
            self._due_rows_refused,
        )
        yield GaugeMetricFamily(
            "holdfast_store_due_rows_set_aside",
            "Due rows that wait for another try since the database refused them; the log has ids.",
            self._due_rows_set_aside,
        )

    def _schedules(self) -> Iterator[Metric]:
        fired = sum(self._schedule_lateness.counts)
        help_ = "Occurrences of schedules that this store has fired."
        yield CounterMetricFamily("holdfast_store_schedule_promises", help_, fired)
        yield CounterMetricFamily("resonate_schedule_promises", help_, fired)
        family = HistogramMetricFamily(
            "holdfast_store_schedule_lateness_seconds",
            "Time from a planned instant of a schedule to when it was fired.",
        )
        family.add_metric([], self._schedule_lateness.buckets(), self._schedule_lateness.total)
        yield family
        yield GaugeMetricFamily(
            "holdfast_store_schedule_lag_seconds",
            "How long the earliest planned instant that is not fired yet has been over; 0 when"
            " all are.",
            self.schedule_lag_ms() / 1000,
        )
        yield CounterMetricFamily(
            "holdfast_store_schedules_refused",
            "Tries to fire schedules that the database refused, or that mean nothing any more; the"
            " log has ids.",
            self._schedules_refused,
        )

    def _retention(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "holdfast_store_retention_deleted_trees",
            "Trees that retention has deleted to the last promise.",
            self._trees_deleted,
        )
        yield CounterMetricFamily(
            "holdfast_store_retention_deleted_promises",
            "Promises that retention has deleted.",
            self._promises_deleted,
        )
        yield GaugeMetricFamily(
            "holdfast_store_retention_lag_seconds",
            "How long ago the trees that retention deletes now could have been deleted; 0 when it"
            " has deleted all.",
            self._retention_lag_s,
        )

    def _queues(self) -> Iterator[Metric]:
        """Write the last reading out; without one there are no series, rather than wrong ones."""
        queues = self.queues() or ()
        for name, help_, value_of in _OF_QUEUES:
            family = GaugeMetricFamily(f"holdfast_store_queue_{name}", help_, labels=["group"])
            for queue in queues:
                family.add_metric([queue.group], value_of(queue))
            yield family

    def _replicas(self) -> Iterator[Metric]:
        """Write out how stores on one database work together; without series where none can."""
        how = self.neighborhood()
        for name, help_, value_of in _OF_NEIGHBORS:
            gauge = GaugeMetricFamily(f"holdfast_store_replicas_{name}", help_)
            if how is not None:
                gauge.add_metric([], value_of(how))
            yield gauge
        for name, help_, value_of in _COUNTED_OF_NEIGHBORS:
            counter = CounterMetricFamily(f"holdfast_store_replicas_{name}", help_)
            if how is not None:
                counter.add_metric([], value_of(how))
            yield counter

    def _now(self) -> Iterator[Metric]:
        members = self.members()
        for name, help_, value in (
            ("members", "Processes connected by a stream.", len(members)),
            ("credits_free", "Tasks that the members could take.", sum(m.credits for m in members)),
            (
                "tasks_held",
                "Tasks given to members, not yet returned.",
                sum(m.held for m in members),
            ),
        ):
            yield GaugeMetricFamily(f"holdfast_store_{name}", help_, value)


def _counter(
    name: str, help_: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help_, labels=labels)
    for texts, count in values:
        family.add_metric(texts, count)
    return family
