"""Where a process of a test stands, and a signal that it sends itself at a chosen point.

The processes of one kind share a folder with three files: the plan, written by the test; the trace,
to which every process appends each point that concerns the plan; a lock around both. So that a plan
counts over all of them: whichever reaches the nth visit of the point is the one that is hit, and it
is hit exactly there, not some milliseconds later.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "KILL_TEST_POINTS"

_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Visit:
    """A process was at a point of a run."""

    point: str
    task_id: str
    step_id: str
    os_pid: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Which visit is the last one; with `occurrence` 0 none is, and visits are only recorded."""

    origin: str = ""
    """Only runs of this tree count; empty: all."""
    point: str = ""
    """Only visits of this point count; empty: of every point."""
    step_id: str = ""
    """Only visits for this step count; empty: for every step."""
    occurrence: int = 0
    signal: int = signal.SIGKILL

    def concerns(self, task_id: str) -> bool:
        """Whether a task belongs to the tree."""
        return not self.origin or task_id == self.origin or task_id.startswith(f"{self.origin}.")

    def counts(self, visit: Visit) -> bool:
        """Whether a visit is one of those that are counted."""
        return self.point in ("", visit.point) and self.step_id in ("", visit.step_id)


class Points:
    """The folder, seen from both sides: tests arm and read, processes visit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = folder / "lock"
        self._plan = folder / "plan.json"
        self._trace = folder / "trace.jsonl"

    # The test's side

    def arm(self, plan: Plan) -> None:
        """Forget all visits and follow another plan."""
        with self._locked():
            self._trace.write_text("")
            self._plan.write_text(json.dumps(asdict(plan)))

    def visits(self) -> list[Visit]:
        """Every visit since the plan was made, in order."""
        return self._read()[0]

    def hit(self) -> Visit | None:
        """The visit at which the signal was sent, if it was."""
        visits, position = self._read()
        return None if position is None else visits[position]

    def until_hit(self) -> list[Visit]:
        """The visits up to the signal, that one included; all if there was none."""
        visits, position = self._read()
        return visits if position is None else visits[: position + 1]

    def _read(self) -> tuple[list[Visit], int | None]:
        """Every visit, and the position of the one at which the signal was sent."""
        with self._locked():
            plan, visits = self._read_plan(), self._read_trace()
        assert plan is not None, "no plan was made"
        counted = [position for position, visit in enumerate(visits) if plan.counts(visit)]
        was_hit = 0 < plan.occurrence <= len(counted)
        return visits, counted[plan.occurrence - 1] if was_hit else None

    # The process's side

    def visit(self, point: str, task_id: str = "", step_id: str = "") -> None:
        """Record a visit, and be hit if it is time."""
        with self._locked():
            plan = self._read_plan()
            if plan is None or not plan.concerns(task_id):
                return
            visit = Visit(point, task_id, step_id, os.getpid())
            with self._trace.open("a") as trace:
                trace.write(json.dumps(asdict(visit)) + "\n")
            counted = sum(map(plan.counts, self._read_trace()))
        # Outside of the lock: a stopped process must not hold it.
        if plan.counts(visit) and counted == plan.occurrence:
            os.kill(os.getpid(), plan.signal)

    def reached(self, point: str, task_id: str = "", step_id: str = "") -> None:
        """Observe: the name by which the library and the store call an observer."""
        self.visit(point, task_id, step_id)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read_plan(self) -> Plan | None:
        return Plan(**json.loads(self._plan.read_text())) if self._plan.exists() else None

    def _read_trace(self) -> list[Visit]:
        return [Visit(**json.loads(line)) for line in self._trace.read_text().splitlines()]


def points_of_this_process() -> Points:
    """Find the folder that the test named; see to it that this process dies with the test."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return Points(Path(os.environ[FOLDER_VARIABLE]))
