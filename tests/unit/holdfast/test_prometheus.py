"""What a program with the library serves at `/metrics`."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from holdfast.meter import OTHER, counted_name
from holdfast.prometheus import WorkerMetrics
from holdfast.registry import Registry


def test_counts_are_served_with_the_group_of_the_process() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(group="mail", slots=8, registry=registry)
    metrics.watch(held=lambda: 3, connected=lambda: True)

    metrics.task_ended(func="send", outcome="resolved")
    metrics.task_ended(func="send", outcome="resolved")
    metrics.step_ended(func="render", outcome="failed", seconds=0.02)

    lines = generate_latest(registry).decode().splitlines()
    assert 'holdfast_worker_tasks_total{func="send",group="mail",outcome="resolved"} 2.0' in lines
    assert 'holdfast_worker_steps_total{func="render",group="mail",outcome="failed"} 1.0' in lines
    assert 'holdfast_worker_step_seconds_bucket{func="render",group="mail",le="0.025"} 1.0' in lines
    assert 'holdfast_worker_step_seconds_bucket{func="render",group="mail",le="0.01"} 0.0' in lines
    assert 'holdfast_worker_tasks_running{group="mail"} 3.0' in lines
    assert 'holdfast_worker_store_connected{group="mail"} 1.0' in lines
    assert 'holdfast_worker_slots{group="mail"} 8.0' in lines


def test_times_of_steps_add_up_bucket_by_bucket() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(group="mail", slots=8, registry=registry)

    for seconds in (0.001, 0.0011, 2.0, 301.0):  # a bound belongs to the bucket below it
        metrics.step_ended(func="render", outcome="succeeded", seconds=seconds)

    def sample(suffix: str, **more: str) -> float | None:
        labels = {"group": "mail", "func": "render", **more}
        return registry.get_sample_value(f"holdfast_worker_step_seconds_{suffix}", labels)

    bounds = ("0.001", "0.0025", "1.0", "2.5", "300.0", "+Inf")
    assert [sample("bucket", le=bound) for bound in bounds] == [1, 2, 2, 3, 3, 4]
    assert sample("count") == 4
    assert sample("sum") == sum((0.001, 0.0011, 2.0, 301.0))


def test_what_is_true_now_is_read_at_each_scrape() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(group="mail", slots=8, registry=registry)
    held = [1]
    metrics.watch(held=lambda: held[0], connected=lambda: False)

    held[0] = 2

    assert registry.get_sample_value("holdfast_worker_tasks_running", {"group": "mail"}) == 2
    assert registry.get_sample_value("holdfast_worker_store_connected", {"group": "mail"}) == 0


def test_only_registered_functions_are_counted_by_name() -> None:
    registry = Registry()

    def fn() -> None: ...

    known = registry.add(fn, name="known")
    foreign = registry.resolve(lambda: None)

    assert counted_name(registry, known) == "known"
    assert counted_name(registry, foreign) == OTHER
