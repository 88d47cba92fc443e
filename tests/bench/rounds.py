"""One round: every workload on every subject in turn, between two halves of the echo rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.closed_loop import Effort
from tests.bench.databases import Database
from tests.bench.failures import Crash, Lateness, crash, sleepers
from tests.bench.journal import Journal
from tests.bench.limits import EchoClient
from tests.bench.measuring import measure
from tests.bench.rates import Rate
from tests.bench.report import LimitResult, Results, Told, WorkloadResult
from tests.bench.shapes import CRASH_WORKFLOWS, SLEEPERS, Workload
from tests.bench.sizes import Outcome
from tests.bench.subject import Driven, Subject

ECHO_MESSAGES_IN_FLIGHT = 64
ECHO_OPERATIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long things take; only tests of the benchmark itself make it smaller."""

    seconds: float
    count: int | None = None
    crash_workflows: int = CRASH_WORKFLOWS
    sleepers: int = SLEEPERS


class Round:
    """Measures, keeps, and says what it has measured."""

    def __init__(
        self,
        number: int,
        *,
        echo: EchoClient,
        scale: Scale,
        results: Results,
        journal: Journal,
    ) -> None:
        self._number = number
        self._echo = echo
        self._scale = scale
        self._results = results
        self._journal = journal
        self._commits: dict[str, Rate] = {}

    async def limits(self, databases: Sequence[Database], folder: Path) -> None:
        """Measure how often each database commits, and what batching gains on a stream."""
        seconds = self._scale.seconds / 2
        for database in databases:
            # On the loop's thread: nothing else is to run meanwhile.
            rate = database.commit_rate(folder, seconds=seconds)
            if rate is None:
                continue
            self._commits[database.name] = rate
            self._keep(LimitResult(f"{database.name} commits of one insert", rate))
        many = await self._echo.rate(
            in_flight=ECHO_MESSAGES_IN_FLIGHT, operations=ECHO_OPERATIONS, seconds=seconds
        )
        self._keep(
            LimitResult(
                f"operations by {ECHO_OPERATIONS} per echo x{ECHO_MESSAGES_IN_FLIGHT}", many
            )
        )

    async def rate(self, subjects: Sequence[Driven], workload: Workload, *, in_flight: int) -> None:
        """Measure a workload on each subject, between two halves of what it is compared with."""
        half = partial(
            self._echo.rate,
            in_flight=in_flight,
            operations=1,
            seconds=self._scale.seconds / 4,
        )
        effort = Effort(seconds=self._scale.seconds, count=self._scale.count)
        before = await half()
        for subject in subjects:
            subject.resume()
            measured = await measure(subject, workload, in_flight=in_flight, effort=effort)
            subject.pause()
            after = await half()
            one = before + after
            before = after
            self._keep(LimitResult(f"echoes of one operation x{in_flight}", one))
            result = WorkloadResult(
                subject.name, self._number, measured, one, self._commits.get(subject.name)
            )
            self._results.workloads.append(result)
            self._journal.workload(result)
            self._say(
                f"{workload.name.upper()} x{in_flight} {subject.name}:"
                f" {measured.per_second:,.0f}/s, p50 {measured.latency_ms(0.5):.1f} ms,"
                f" {result.echo_ratio:.3f} of {one.per_second:,.0f} echoes/s"
            )

    async def crash(self, subject: Subject) -> None:
        """Measure W5."""
        subject.resume()
        result = await crash(subject, workflows=self._scale.crash_workflows)
        subject.pause()
        self.tell(subject.name, result)
        recovery = result.recovery
        self._say(
            f"W5 {subject.name}: first step {recovery.first_step_s:.2f} s after the kill, all"
            f" results {result.results_s:.2f} s, {recovery.duplicated} duplicated,"
            f" {recovery.lost} lost"
        )

    async def sleepers(self, subject: Subject) -> None:
        """Measure W6."""
        subject.resume()
        result = await sleepers(subject, count=self._scale.sleepers)
        subject.pause()
        self.tell(subject.name, result)
        self._say(f"W6 {subject.name}: late by {result.p50_ms:.0f} ms, p99 {result.p99_ms:.0f} ms")

    def tell(self, subject: str, result: Crash | Lateness | Outcome) -> None:
        """Keep a result that is no rate."""
        told = Told(subject, self._number, result)
        self._results.told.append(told)
        self._journal.told(told)

    def _keep(self, limit: LimitResult) -> None:
        self._results.limits.append(limit)
        self._journal.limit(limit, round_number=self._number)

    def _say(self, line: str) -> None:
        print(f"round {self._number}: {line}", flush=True)
