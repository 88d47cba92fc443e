"""The metrics of a process that runs workflows, for Prometheus.

Needs the package `prometheus-client`, which the library itself does not: the extras `worker` and
`db` bring it. Names are the same in every program that uses the library; `group` tells them apart.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from holdfast.meter import StepEnd, TaskEnd

STEP_SECONDS_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
"""A step may be an addition or a video: from a millisecond to minutes."""
_BOUNDS_TEXT: Final = (*(str(float(bound)) for bound in STEP_SECONDS_BOUNDS), "+Inf")


class WorkerMetrics:
    """A `Meter` whose counts are scraped; make one per process.

    >>> metrics = WorkerMetrics(group="workers", slots=64)
    >>> store = RemoteStore("grpc://127.0.0.1:50051")
    >>> resonate = Resonate(store=store, group="workers", max_concurrency=64, meter=metrics)
    >>> metrics.watch(held=lambda: resonate.held, connected=lambda: store.is_connected)
    """

    def __init__(self, *, group: str, slots: int, registry: CollectorRegistry = REGISTRY) -> None:
        """Define the metrics; `slots` is how many tasks the process takes at the same time."""
        tasks = Counter(
            "holdfast_worker_tasks",
            "Tasks that left the process, by function and how: resolved, rejected, suspended, "
            "released, halted, unknown_function, lost or abandoned.",
            ["group", "func", "outcome"],
            registry=registry,
        )
        running = Gauge(
            "holdfast_worker_tasks_running",
            "Tasks that the process holds; parked workflows do not count.",
            ["group"],
            registry=registry,
        )
        connected = Gauge(
            "holdfast_worker_store_connected",
            "Whether the process has a stream to the store: 1 or 0.",
            ["group"],
            registry=registry,
        )
        taken_at_once = Gauge(
            "holdfast_worker_slots",
            "Tasks that the process takes at the same time.",
            ["group"],
            registry=registry,
        )
        # Finding a child by its labels costs more than counting does, and there are few.
        self._tasks = cache(partial(tasks.labels, group))
        self._steps = _Steps(group)
        registry.register(self._steps)
        self._running = running.labels(group)
        self._connected = connected.labels(group)
        taken_at_once.labels(group).set(slots)

    def watch(self, *, held: Callable[[], int], connected: Callable[[], bool]) -> None:
        """Say where to read, at each scrape, what is true now."""
        self._running.set_function(held)
        self._connected.set_function(connected)

    def task_ended(self, *, func: str, outcome: TaskEnd) -> None:
        """Count a task that this process held until now."""
        self._tasks(func, outcome).inc()

    def step_ended(self, *, func: str, outcome: StepEnd, seconds: float) -> None:
        """Count an attempt at a step, which took so long."""
        self._steps.count(func, outcome, seconds)


class _Times:
    """How long the attempts at one step took, by bucket and in all."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(STEP_SECONDS_BOUNDS) + 1)
        self.seconds = 0.0


class _Steps(Collector):
    """Counts attempts at steps, once in each step: a fifth as dear as a counter and a histogram."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._ended: dict[tuple[str, StepEnd], int] = {}
        self._times: dict[str, _Times] = {}

    def count(self, func: str, outcome: StepEnd, seconds: float) -> None:
        """Count one attempt."""
        ended = func, outcome
        self._ended[ended] = self._ended.get(ended, 0) + 1
        times = self._times.get(func)
        if times is None:
            times = self._times[func] = _Times()
        times.buckets[bisect_left(STEP_SECONDS_BOUNDS, seconds)] += 1
        times.seconds += seconds

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Say what was counted, perhaps to another thread than the one that counts."""
        ended = CounterMetricFamily(
            "holdfast_worker_steps",
            "Attempts at steps that ended, by function and how: succeeded, failed or canceled.",
            labels=["group", "func", "outcome"],
        )
        for (func, outcome), number in self._ended.copy().items():
            ended.add_metric([self._group, func, outcome], number)
        yield ended
        seconds = HistogramMetricFamily(
            "holdfast_worker_step_seconds",
            "Time of one attempt at a step.",
            labels=["group", "func"],
        )
        for func, times in self._times.copy().items():
            buckets = list(zip(_BOUNDS_TEXT, accumulate(times.buckets), strict=True))
            seconds.add_metric([self._group, func], buckets, times.seconds)
        yield seconds
