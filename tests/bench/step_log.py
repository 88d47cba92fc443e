"""What really happened: lines that workflows and steps write into a file, past all durability.

A workflow may run twice and a step may be lost; only a record that the system under measurement
does not know about can tell. Standard library only, as programs of peers write it too.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Final

SETTING: Final = "BENCH_STEP_LOG"

BEGIN, END = "begin", "end"
ASLEEP, AWAKE = "asleep", "awake"

_file: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line: what happened to which step of which workflow, in which process and when."""

    kind: str
    workflow: int
    step: int
    pid: int
    at_s: float


def write(kind: str, workflow: int, step: int) -> None:
    """Append one line, whole whatever other processes append."""
    global _file  # noqa: PLW0603 - one descriptor for the life of the process
    if _file is None:
        _file = os.open(os.environ[SETTING], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(_file, f"{kind} {workflow} {step} {os.getpid()} {time():.6f}\n".encode())


class StepLog:
    """The same file, read as it grows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._distinct: dict[str, set[tuple[int, int]]] = {}
        self.path = path
        self.events: list[Event] = []

    def read(self) -> Sequence[Event]:
        """Read the complete lines that are new; return all events so far."""
        while line := self._file.readline():
            if not line.endswith(b"\n"):
                self._file.seek(-len(line), os.SEEK_CUR)
                break
            event = parse(line.decode())
            self.events.append(event)
            self._distinct.setdefault(event.kind, set()).add((event.workflow, event.step))
        return self.events

    def count(self, kind: str) -> int:
        """Count the steps to which this happened by now, each once."""
        self.read()
        return len(self._distinct.get(kind, ()))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def parse(line: str) -> Event:
    """Parse one line of the file."""
    kind, workflow, step, pid, at_s = line.split()
    return Event(kind, int(workflow), int(step), int(pid), float(at_s))


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a system came back after its worker was killed."""

    first_step_s: float
    """From the kill to the first step that the next worker began."""
    last_step_s: float
    """From the kill to the end of the last step that had not ended before."""
    duplicated: int
    """Steps that began more than once."""
    lost: int
    """Steps that never ended."""


def recovery_of(events: Iterable[Event], *, killed_at_s: float, steps: int) -> Recovery:
    """Judge a run of so many steps in all; raise ValueError if nothing came back."""
    begun: Counter[tuple[int, int]] = Counter()
    ended: dict[tuple[int, int], float] = {}
    resumed: list[float] = []
    for event in events:
        key = (event.workflow, event.step)
        if event.kind == BEGIN:
            begun[key] += 1
            if event.at_s > killed_at_s:
                resumed.append(event.at_s)
        elif event.kind == END:
            ended.setdefault(key, event.at_s)
    return Recovery(
        first_step_s=min(resumed) - killed_at_s,
        last_step_s=max(ended.values()) - killed_at_s,
        duplicated=sum(count > 1 for count in begun.values()),
        lost=steps - len(ended),
    )


def lateness_ms(events: Iterable[Event], *, slept_s: float) -> list[float]:
    """How late each sleeper woke up, ascending; its sleep began when it first said so."""
    asleep: dict[int, float] = {}
    late: dict[int, float] = {}
    for event in events:
        if event.kind == ASLEEP:
            asleep.setdefault(event.workflow, event.at_s)
        elif event.kind == AWAKE:
            late.setdefault(event.workflow, (event.at_s - asleep[event.workflow] - slept_s) * 1e3)
    return sorted(late.values())
