"""What a measured system must offer, whoever made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tests.bench.closed_loop import Effort
from tests.bench.shapes import Workload
from tests.bench.step_log import StepLog

RESULT_SECONDS_MAX = 120.0
CLIENT = "client"


class WrongResult(Exception):
    """A workflow returned what it should not have."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a store of Holdfast has counted since its start; zeros for anything else."""

    batches: float = 0.0
    operations: float = 0.0
    statements: float = 0.0
    failed: float = 0.0

    def since(self, before: "BatchCounts") -> "BatchCounts":
        """Subtract an earlier count."""
        return BatchCounts(
            batches=self.batches - before.batches,
            operations=self.operations - before.operations,
            statements=self.statements - before.statements,
            failed=self.failed - before.failed,
        )


class Driven(Protocol):
    """A running system and its client, of which a rate can be measured."""

    name: str
    """How tables and files call it."""

    def pids(self) -> Mapping[str, int]:
        """Tell the process of each part; its children count with it."""

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""

    def counts(self) -> BatchCounts:
        """Tell what the store counted; may block for about a millisecond."""

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Run workflows until the effort is spent, check them, and return latencies in ms."""

    def pause(self) -> None:
        """Keep still while others are measured, if this one is not quiet by itself."""

    def resume(self) -> None:
        """Go on."""


class Subject(Driven, Protocol):
    """One with workers in two groups, of which the first can be killed."""

    step_log: StepLog
    """What its workflows of W5 and W6 wrote."""

    async def run_all(self, name: str, numbers: range) -> None:
        """Run W5 or W6 once for each number, all at once; return when all have ended.

        A client that dies with the worker, because it is the worker, may return early.
        """

    def kill_worker(self) -> None:
        """End the worker of the first group at once, without a word to anybody."""

    async def start_worker(self) -> None:
        """Start another in its place; do not wait until it is ready."""
