"""Every expression of dashboards and rules returns series of the real processes.

The processes run under load, and everything that can fail does fail from time to time. A query that
returns nothing shows an empty panel or an alert that never fires.
"""

import time
from typing import Final

import pytest

from tests.integration.kill.processes import until
from tests.integration.monitoring.files import (
    alerts,
    panels,
    recorded,
    shown,
    without_thresholds,
)
from tests.integration.monitoring.prometheus import (
    PATIENCE_S,
    Eventually,
    Prometheus,
    Sample,
)

pytestmark = pytest.mark.timeout(240)  # the first test that runs starts everything

SHOWN: Final = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']} {target['refId']}")
    for name, panel in panels()
    for target in panel["targets"]
]

FAILURES: Final = (
    'rate(holdfast_store_requests_total{status="429"}[1m])',
    'rate(holdfast_store_requests_total{status="503"}[1m])',
    'rate(holdfast_store_batches_failed_total{kind="StorageUnavailable"}[1m])',
    'rate(holdfast_store_steps_total{kind="promise_timeout"}[1m])',
    'holdfast_store_steps_total{kind="lost"}',
    "rate(holdfast_store_timer_lateness_seconds_count[1m])",
    'holdfast_store_queue_halted{group="workers"}',
    'holdfast_store_queue_suspended{group="workers"}',
    'holdfast_store_queue_depth{group="doomed"}',
    'holdfast_store_queue_oldest_due_age_seconds{group="doomed"}',
    'rate(holdfast_worker_steps_total{group="db",outcome="failed"}[1m])',
    'rate(holdfast_worker_steps_total{func="validateOrder",outcome="failed"}[1m])',
    'rate(holdfast_worker_tasks_total{outcome="unknown_function"}[1m])',
    'rate(holdfast_worker_tasks_total{func="processOrder",outcome="suspended"}[1m])',
    'rate(holdfast_worker_tasks_total{func="processOrder",outcome="rejected"}[1m])',
    'rate(holdfast_gateway_requests_total{path=~"/orders/.*/status",status="503"}[1m])',
    'rate(holdfast_gateway_requests_total{path="unmatched"}[1m])',
)

PUBLIC_DASHBOARD: Final = (
    "sum by (kind) (rate(resonate_request_total[5m]))",
    'sum by (kind) (rate(resonate_request_total{status=~"4..|5.."}[5m]))',
    "histogram_quantile(0.50, sum by (le) (rate(resonate_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.99, sum by (le) (rate(resonate_request_duration_seconds_bucket[5m])))",
    "sum by (kind) (rate(resonate_messages_total[5m]))",
    "sum by (status) (rate(resonate_deliveries_total[5m]))",
    "resonate_schedule_promises_total",
)


def is_positive(sample: Sample) -> bool:
    return sample.value > 0


@pytest.mark.parametrize("expr", SHOWN)
def test_a_panel_shows_series(expr: str, eventually: Eventually) -> None:
    if "or vector(0)" in expr:
        eventually(shown(expr), is_positive)  # zero would be shown whatever its metric is called
    else:
        eventually(shown(expr))


@pytest.mark.parametrize("name", recorded())
def test_a_recording_rule_records(name: str, eventually: Eventually) -> None:
    eventually(name)


@pytest.mark.parametrize("name", alerts())
def test_what_an_alert_compares_exists(name: str, eventually: Eventually) -> None:
    eventually(without_thresholds(alerts()[name]["expr"]))


@pytest.mark.parametrize("expr", FAILURES)
def test_what_went_wrong_is_counted(expr: str, eventually: Eventually) -> None:
    """The faults of the load arrive at the metrics that alerts are made of."""
    eventually(expr, is_positive)


@pytest.mark.parametrize("expr", PUBLIC_DASHBOARD)
def test_the_public_dashboard_of_the_protocol_shows_series(
    expr: str, eventually: Eventually
) -> None:
    eventually(expr)


def test_prometheus_evaluates_every_rule_without_errors(scraped: Prometheus) -> None:
    names = set(alerts()) | set(recorded())

    def evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in scraped.rules())

    until(evaluated, "every rule was evaluated", deadline_s=PATIENCE_S)

    assert {rule["name"] for rule in scraped.rules()} == names
    assert [(r["name"], r["lastError"]) for r in scraped.rules() if r["health"] != "ok"] == []


def test_prometheus_understands_every_process(scraped: Prometheus) -> None:
    deadline = time.monotonic() + PATIENCE_S

    def seen() -> bool:
        assert time.monotonic() < deadline
        return all(target["health"] != "unknown" for target in scraped.targets())

    until(seen, "every target was scraped", deadline_s=PATIENCE_S)
    # The one that was killed does not answer.
    errors = {t["scrapePool"]: t["lastError"] for t in scraped.targets() if t["health"] != "up"}

    assert set(errors) <= {"doomed"}
