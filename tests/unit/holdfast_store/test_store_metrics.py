"""What the store counts, as Prometheus reads it."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from holdfast.core.requests import PromiseCreate, PromiseGet, Request, TaskFence
from holdfast.core.search import Search
from holdfast_store.counts import OPERATIONS
from holdfast_store.members import MemberStatus
from holdfast_store.metrics import Metrics
from holdfast_store.statistics import Queue


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def lines(metrics: Metrics) -> set[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return set(generate_latest(registry).decode().splitlines())


def test_every_operation_has_its_name_in_the_protocol() -> None:
    assert set(OPERATIONS) == {*Request.__args__, *Search.__args__}
    assert OPERATIONS[TaskFence] == "task.fence"


def test_answers_are_counted_by_operation_and_status(metrics: Metrics) -> None:
    metrics.operation_answered(kind="PromiseGet", status=404)
    metrics.operation_answered(kind="PromiseGet", status=404)
    metrics.operation_answered(kind="PromiseGet", status=0)

    found = lines(metrics)

    assert 'holdfast_store_requests_total{operation="promise.get",status="404"} 2.0' in found
    assert 'resonate_request_total{kind="promise.get",status="404"} 2.0' in found
    assert not any('status="0"' in line for line in found)


def test_durations_fall_into_buckets_whose_bounds_belong_to_them(metrics: Metrics) -> None:
    metrics.requests_took([PromiseCreate, PromiseGet], 0.005)
    metrics.requests_took([PromiseCreate], 60.0)

    found = lines(metrics)

    name = "resonate_request_duration_seconds"
    assert f'{name}_bucket{{kind="promise.create",le="0.005"}} 1.0' in found
    assert f'{name}_bucket{{kind="promise.create",le="10.0"}} 1.0' in found
    assert f'{name}_bucket{{kind="promise.create",le="+Inf"}} 2.0' in found
    assert f'{name}_sum{{kind="promise.create"}} 60.005' in found
    assert f'{name}_count{{kind="promise.get"}} 1.0' in found


def test_what_was_denied_is_counted_by_its_code(metrics: Metrics) -> None:
    metrics.call_denied("token_missing")
    metrics.call_denied("token_missing")

    assert 'holdfast_store_calls_denied_total{code="token_missing"} 2.0' in lines(metrics)


def test_operations_that_never_came_take_no_room(metrics: Metrics) -> None:
    assert not any("_duration_seconds_bucket{kind" in line for line in lines(metrics))


def test_batches_are_counted_with_their_size_and_statements(metrics: Metrics) -> None:
    failures: list[bool] = []
    metrics.on_batch_failed = lambda: failures.append(True)

    metrics.batch_committed(operations=3, statements=6, seconds=0.004)
    metrics.batch_failed(kind="StorageUnavailable")
    for _ in range(6):
        metrics.count_statement("select 1")
    found = lines(metrics)

    assert 'holdfast_store_batch_operations_bucket{le="4.0"} 1.0' in found
    assert 'holdfast_store_batch_statements_bucket{le="4.0"} 0.0' in found
    assert "holdfast_store_batch_duration_seconds_sum 0.004" in found
    assert 'holdfast_store_batches_failed_total{kind="StorageUnavailable"} 1.0' in found
    assert "holdfast_store_statements_total 6.0" in found
    assert failures == [True]


def test_messages_deliveries_and_steps_are_counted(metrics: Metrics) -> None:
    metrics.message_claimed(kind="execute")
    metrics.delivered(status="dropped")
    metrics.steps_ran(kind="lease_expiry", count=4)

    found = lines(metrics)

    assert 'resonate_messages_total{kind="execute"} 1.0' in found
    assert 'resonate_messages_total{kind="unblock"} 0.0' in found
    assert 'resonate_deliveries_total{status="dropped"} 1.0' in found
    assert 'holdfast_store_steps_total{kind="lease_expiry"} 4.0' in found
    assert "resonate_schedule_promises_total 0.0" in found


def test_members_are_asked_for_when_somebody_scrapes(metrics: Metrics) -> None:
    who = MemberStatus(pid="p", groups=("g",), credits=3, held=2, connected_at_ms=0)
    metrics.members = lambda: [who, who]

    found = lines(metrics)

    assert "holdfast_store_members 2.0" in found
    assert "holdfast_store_credits_free 6.0" in found
    assert "holdfast_store_tasks_held 4.0" in found


def test_queues_are_gauges_per_group(metrics: Metrics) -> None:
    queue = Queue(
        group='a"b',
        due=1,
        running=2,
        suspended=3,
        halted=4,
        oldest_due_age_ms=5_500,
        members=6,
        free_credits=7,
    )
    metrics.queues = lambda: [queue]

    found = {line for line in lines(metrics) if line.startswith("holdfast_store_queue_")}

    assert found == {
        f'holdfast_store_queue_{name}{{group="a\\"b"}} {value}'
        for name, value in (
            ("depth", 1.0),
            ("running", 2.0),
            ("suspended", 3.0),
            ("halted", 4.0),
            ("oldest_due_age_seconds", 5.5),
            ("members", 6.0),
            ("free_credits", 7.0),
        )
    }


def test_queues_that_are_not_known_have_no_series(metrics: Metrics) -> None:
    found = lines(metrics)

    assert "# TYPE holdfast_store_queue_depth gauge" in found
    assert not any(line.startswith("holdfast_store_queue_") for line in found)


def test_lateness_of_timers_is_a_histogram_in_seconds(metrics: Metrics) -> None:
    metrics.timers_swept([0, 3, 7_200_000])

    found = lines(metrics)

    name = "holdfast_store_timer_lateness_seconds"
    assert f'{name}_bucket{{le="0.001"}} 1.0' in found
    assert f'{name}_bucket{{le="0.005"}} 2.0' in found
    assert f'{name}_bucket{{le="3600.0"}} 2.0' in found
    assert f"{name}_count 3.0" in found
    assert f"{name}_sum 7200.003" in found


def test_due_rows_that_were_refused_are_counted(metrics: Metrics) -> None:
    metrics.due_rows_set_aside(refused=1, now=1)
    metrics.due_rows_set_aside(refused=1, now=2)
    metrics.due_rows_set_aside(refused=0, now=1)

    found = lines(metrics)

    assert "holdfast_store_due_rows_refused_total 2.0" in found
    assert "holdfast_store_due_rows_set_aside 1.0" in found
