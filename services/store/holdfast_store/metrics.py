"""What the store has counted, as it is written out for whoever scrapes.

The metrics library sees the numbers only then. Names that begin with `resonate_` repeat ours under
the protocol's names (§7.3), so that its public dashboard works.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from holdfast_store.counts import OPERATIONS, Counts
from holdfast_store.histograms import Histogram
from holdfast_store.loops.neighbors import Neighborhood
from holdfast_store.members import MemberStatus
from holdfast_store.statistics import Queue

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


class Metrics(Counts, Collector):
    """What is counted, and what is looked up when somebody scrapes.

    `members` answers who is connected then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.members: Callable[[], Sequence[MemberStatus]] = tuple
        self.queues: Callable[[], Sequence[Queue] | None] = lambda: None
        """Answers what waits per group, as it was read last; `None` while it cannot be known."""
        self.neighborhood: Callable[[], Neighborhood | None] = lambda: None
        """Answers how it goes with other stores; `None` where there can be none."""
        self.schedule_lag_ms: Callable[[], int] = lambda: 0
        """Answers how long the next planned instant has been waiting to be fired."""

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
            yield _histogram(f"holdfast_store_batch_{name}", help_, histogram)
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
        yield _histogram(
            "holdfast_store_timer_lateness_seconds",
            "Time from a deadline, or the end of a lease, to the sweep that ended it.",
            self._lateness,
        )
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
        yield _histogram(
            "holdfast_store_schedule_lateness_seconds",
            "Time from a planned instant of a schedule to when it was fired.",
            self._schedule_lateness,
        )
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
        yield GaugeMetricFamily(
            "holdfast_store_schedules_set_aside",
            "Schedules that this store could not fire, and tries again ever more seldom.",
            self._schedules_set_aside,
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


def _histogram(name: str, help_: str, counted: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_)
    family.add_metric([], counted.buckets(), counted.total)
    return family
