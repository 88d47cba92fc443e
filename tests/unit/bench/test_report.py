import pytest

from tests.bench.failures import Lateness
from tests.bench.measuring import Measurement, at_part
from tests.bench.rates import Rate
from tests.bench.report import Results, Told, WorkloadResult
from tests.bench.shapes import WORKLOADS
from tests.bench.store.__main__ import statements_per_operation
from tests.bench.subject import BatchCounts


def result(
    subject: str, *, round_number: int = 1, name: str = "w1", in_flight: int = 64, per_second: int
) -> WorkloadResult:
    """Measure a workload that took as long as it must, each time the same."""
    latency_ms = in_flight / per_second * 1e3
    measurement = Measurement(
        workload=WORKLOADS[name],
        in_flight=in_flight,
        seconds=1.0,
        latencies_ms=[latency_ms] * per_second,
        cpu_seconds={"store": 0.3, "client": 0.1},
        others_cpu_seconds=0.0,
        batches=BatchCounts(batches=10, operations=200, statements=80),
        resident_mib={},
    )
    return WorkloadResult(subject, round_number, measurement, Rate(1000, 1.0, 0.5), Rate(100, 1.0))


def test_ratios_are_taken_within_a_round_and_not_between_medians(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results(
        workloads=[
            result("holdfast", round_number=1, per_second=400),
            result("peer", round_number=1, per_second=100),
            result("holdfast", round_number=2, per_second=200),
            result("peer", round_number=2, per_second=200),
            result("holdfast", round_number=3, per_second=900),
            result("peer", round_number=3, per_second=300),
        ]
    )

    results.print_ratios(of="holdfast", to=["peer"])

    assert "3.00 (1.00-4.00)" in capsys.readouterr().out


def test_with_one_in_flight_less_latency_is_what_is_better(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results(
        workloads=[
            result("holdfast", in_flight=1, per_second=200),
            result("peer", in_flight=1, per_second=100),
        ]
    )

    results.print_ratios(of="holdfast", to=["peer"])

    told = capsys.readouterr().out
    assert "W1 x1 p50" in told
    assert "2.00" in told


def test_less_lateness_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(told=[Told("holdfast", 1, Lateness(1, 50)), Told("peer", 1, Lateness(1, 25))])

    results.print_ratios(of="holdfast", to=["peer"])

    assert "0.50" in capsys.readouterr().out


def test_a_peer_that_was_not_measured_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(workloads=[result("holdfast", per_second=100)])

    results.print_ratios(of="holdfast", to=["peer"])

    assert capsys.readouterr().out == ""


def test_floors_hold_for_sqlite_only(capsys: pytest.CaptureFixture[str]) -> None:
    slow = result("postgresql", per_second=1)

    assert Results(workloads=[result("sqlite", per_second=300), slow]).check_floors()
    assert not Results(workloads=[result("sqlite", per_second=299), slow]).check_floors()
    assert "MISSED" in capsys.readouterr().out


def test_a_workflow_costs_what_all_processes_spent_on_it() -> None:
    one = result("sqlite", per_second=100)

    assert one.measurement.cpu_us == pytest.approx(4000)
    assert one.cpu_echoes == pytest.approx(8)
    assert one.commit_ratio == pytest.approx(1)
    assert statements_per_operation(one) == pytest.approx(0.4)


def test_a_part_is_the_value_that_so_many_do_not_exceed() -> None:
    assert at_part([1, 2, 3, 4], 0.5) == 2
    assert at_part([1, 2, 3, 4], 0.99) == 4
    assert at_part([7], 0.5) == 7
