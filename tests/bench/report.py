"""What a run prints: medians of the rounds, and ratios of what was measured side by side."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeVar

from tests.bench.failures import Crash, Lateness
from tests.bench.measuring import Measurement
from tests.bench.rates import Rate
from tests.bench.sizes import Outcome
from tests.bench.tables import print_table, span

FLOOR_IN_FLIGHT: Final = 64
FLOOR_SUBJECT: Final = "sqlite"
DISTURBED_CORES: Final = 0.25
"""Above this much of other work on the machine a result is marked."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LimitResult:
    """One measurement of a limit; `name` says of which, ready to print."""

    name: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class WorkloadResult:
    """One measurement of a workload, and the limits that were measured around it."""

    subject: str
    round_number: int
    measurement: Measurement
    echo: Rate
    commits: Rate | None
    """Of the database below; none for what brings its own."""

    @property
    def case(self) -> tuple[str, int]:
        """What was measured, whoever did it."""
        return self.measurement.workload.name, self.measurement.in_flight

    @property
    def echo_ratio(self) -> float:
        """Workflows for each echo of one operation, with as many in flight."""
        return self.measurement.per_second / self.echo.per_second

    @property
    def commit_ratio(self) -> float:
        """Workflows for each commit of the bare database; above one thanks to batches."""
        return self.measurement.per_second / self.commits.per_second if self.commits else 0.0

    @property
    def cpu_echoes(self) -> float:
        """How many echoes could be had for the processor time of one workflow."""
        return self.measurement.cpu_us / self.echo.cpu_us


@dataclass(frozen=True, slots=True)
class Told:
    """A result of W5, W6 or W8 on one subject in one round."""

    subject: str
    round_number: int
    result: Crash | Lateness | Outcome


@dataclass(slots=True)
class Results:
    """Everything that a run has measured so far, rounds mixed."""

    limits: list[LimitResult] = field(default_factory=list)
    workloads: list[WorkloadResult] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def print_all(self) -> None:
        """Print every table that has a row."""
        self.print_limits()
        self._print_workloads()
        self._print_processes()
        self._print_crashes()
        self._print_lateness()
        self._print_sizes()

    def print_limits(self) -> None:
        rows = []
        for name in dict.fromkeys(r.name for r in self.limits):
            rates = [r.rate for r in self.limits if r.name == name]
            cpu = median(r.cpu_us for r in rates)
            rows.append([name, span(rates, lambda r: r.per_second), f"{cpu:.0f}" if cpu else ""])
        print_table(["limits of this machine", "per s (least-most)", "CPU µs"], rows)

    def _print_workloads(self) -> None:
        header = ["workload", "per s (least-most)", "p50 ms", "p99 ms", "/echo", "/commit"]
        header += ["CPU µs", "µs/step", "in echoes", "ops/batch", "stmts/batch", "others"]
        rows = []
        for (subject, (name, in_flight)), group in self.groups():
            runs = [r.measurement for r in group]
            others = median(m.others_cores for m in runs)
            batched = any(m.batches.batches for m in runs)
            rows.append(
                [
                    f"{name.upper()} x{in_flight} {subject}",
                    span(runs, lambda m: m.per_second),
                    f"{median(m.latency_ms(0.5) for m in runs):.2f}",
                    f"{median(m.latency_ms(0.99) for m in runs):.2f}",
                    f"{median(r.echo_ratio for r in group):.3f}",
                    f"{median(r.commit_ratio for r in group):.2f}" if group[0].commits else "",
                    f"{median(m.cpu_us for m in runs):.0f}",
                    f"{median(m.cpu_us_per_step for m in runs):.0f}",
                    f"{median(r.cpu_echoes for r in group):.1f}",
                    f"{median(m.operations_per_batch for m in runs):.1f}" if batched else "",
                    f"{median(m.statements_per_batch for m in runs):.1f}" if batched else "",
                    f"{others:.2f}" + ("!" if others > DISTURBED_CORES else ""),
                ]
            )
        if rows:
            print_table(header, rows)

    def _print_processes(self) -> None:
        """Print where the processor time and the memory go."""
        rows = []
        for (subject, (name, in_flight)), group in self.groups():
            runs = [r.measurement for r in group]
            cells = []
            for part in runs[0].cpu_seconds:
                cpu = median(m.cpu_us_by_process[part] for m in runs)
                memory = median(m.resident_mib.get(part, 0.0) for m in runs)
                cells.append(f"{part} {cpu:.0f} µs" + (f", {memory:.0f} MiB" if memory else ""))
            rows.append([f"{name.upper()} x{in_flight} {subject}", "; ".join(cells)])
        if rows:
            print_table(["CPU per workflow, memory", "by process"], rows)

    def _print_crashes(self) -> None:
        rows = []
        for subject, crashes in self._told(Crash):
            recoveries = [c.recovery for c in crashes]
            rows.append(
                [
                    f"W5 {subject}",
                    f"{median(r.first_step_s for r in recoveries):.2f}",
                    f"{median(r.last_step_s for r in recoveries):.2f}",
                    f"{median(c.results_s for c in crashes):.2f}",
                    f"{median(r.duplicated for r in recoveries):.0f}",
                    f"{max(r.lost for r in recoveries)}",
                ]
            )
        if rows:
            header = ["worker killed", "first resumed step, s", "last step, s", "all results, s"]
            print_table([*header, "duplicated", "lost"], rows)

    def _print_lateness(self) -> None:
        rows = [
            [
                f"W6 {subject}",
                f"{median(each.p50_ms for each in found):.0f}",
                f"{median(each.p99_ms for each in found):.0f}",
            ]
            for subject, found in self._told(Lateness)
        ]
        if rows:
            print_table(["sleepers' lateness", "p50 ms", "p99 ms"], rows)

    def _print_sizes(self) -> None:
        rows = []
        for subject, outcomes in self._told(Outcome):
            for case in dict.fromkeys(o.case for o in outcomes):
                found = [o for o in outcomes if o.case == case]
                memory = median(o.worker_mib for o in found)
                rows.append(
                    [
                        f"W8 {subject}, {case}",
                        f"{median(o.small for o in found):,.0f}",
                        f"{median(o.large for o in found):,.0f}",
                        f"{median(o.ratio for o in found):.2f}",
                        f"{memory:.0f} MiB" if memory else "",
                    ]
                )
        if rows:
            print_table(["size", "small, per s", "large, per s", "ratio", "worker grew by"], rows)

    def print_ratios(self, *, of: str, to: Sequence[str]) -> None:
        """Print how often one subject is as good as each of the others, in pairs of one round."""
        rows = []
        for case in dict.fromkeys(r.case for r in self.workloads):
            name, in_flight = case
            value = _rate if in_flight > 1 or name.startswith("w4") else _p50
            own = {r.round_number: value(r) for r in self._of(of, case)}
            for peer in to:
                theirs = {r.round_number: value(r) for r in self._of(peer, case)}
                both = sorted(own.keys() & theirs.keys())
                if both:
                    ratios = [_times_better(own[n], theirs[n], rates=value is _rate) for n in both]
                    what = "rate" if value is _rate else "p50"
                    rows.append([f"{name.upper()} x{in_flight} {what}", peer, _ratio_span(ratios)])
        rows += self._told_ratios("W5 all results", Crash, lambda c: c.results_s, of=of, to=to)
        rows += self._told_ratios(
            "W5 first step", Crash, lambda c: c.recovery.first_step_s, of=of, to=to
        )
        rows += self._told_ratios("W6 p99", Lateness, lambda late: late.p99_ms, of=of, to=to)
        if rows:
            print_table([f"{of}: times as good as", "", "median (least-most)"], rows)

    def _told_ratios(
        self,
        title: str,
        kind: type[_T],
        value: Callable[[_T], float],
        *,
        of: str,
        to: Sequence[str],
    ) -> list[list[str]]:
        rows = []
        for peer in to:
            found = {
                subject: {
                    t.round_number: value(t.result)
                    for t in self.told
                    if t.subject == subject and isinstance(t.result, kind)
                }
                for subject in (of, peer)
            }
            both = sorted(found[of].keys() & found[peer].keys())
            if both:
                ratios = [_times_better(found[of][n], found[peer][n], rates=False) for n in both]
                rows.append([title, peer, _ratio_span(ratios)])
        return rows

    def check_floors(self) -> bool:
        """Print whether each workload with a floor is above it; return whether all are."""
        good = True
        for (subject, (name, in_flight)), group in self.groups():
            floor = group[0].measurement.workload.floor
            if in_flight != FLOOR_IN_FLIGHT or floor is None or subject != FLOOR_SUBJECT:
                continue
            ratio = median(r.echo_ratio for r in group)
            above = ratio >= floor
            good = good and above
            print(
                f"{name.upper()} x{in_flight}: {ratio:.3f} of the echo rate,"
                f" floor {floor:g}: {'kept' if above else 'MISSED'}"
            )
        return good

    def groups(self) -> Iterable[tuple[tuple[str, tuple[str, int]], list[WorkloadResult]]]:
        """Gather the rounds of each workload and subject, subjects of one workload together."""
        cases = dict.fromkeys(r.case for r in self.workloads)
        subjects = dict.fromkeys(r.subject for r in self.workloads)
        for case in cases:
            for subject in subjects:
                group = self._of(subject, case)
                if group:
                    yield (subject, case), group

    def _of(self, subject: str, case: tuple[str, int]) -> list[WorkloadResult]:
        return [r for r in self.workloads if r.subject == subject and r.case == case]

    def _told(self, kind: type[_T]) -> Iterable[tuple[str, list[_T]]]:
        for subject in dict.fromkeys(t.subject for t in self.told):
            found: list[_T] = []
            for told in self.told:
                result: object = told.result
                if told.subject == subject and isinstance(result, kind):
                    found.append(result)
            if found:
                yield subject, found


def _rate(result: WorkloadResult) -> float:
    return result.measurement.per_second


def _p50(result: WorkloadResult) -> float:
    return result.measurement.latency_ms(0.5)


def _times_better(own: float, theirs: float, *, rates: bool) -> float:
    """More is better of rates, less of times."""
    return own / theirs if rates else theirs / own


def _ratio_span(ratios: Sequence[float]) -> str:
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
