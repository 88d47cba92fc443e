"""What one transaction does and what it came to: the data that the steps around it hand on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.membership import TaskOffer
from holdfast.core.records import Preload, Promise, Task, project
from holdfast.core.requests import (
    Done,
    Outcome,
    Refusal,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskHeartbeat,
)
from holdfast.core.schedule import Due
from holdfast.core.working_set import Changes
from holdfast_store.backlog import NO_LOOKS, Looks, Seen
from holdfast_store.members import Relay, Seat
from holdfast_store.storage import CommitOutcomeUnknown, Loaded, StorageError
from holdfast_store.suspects import NO_ROWS, DueRows

Answer = Callable[[Sequence[Outcome]], None]

_WITH_PID: Final = frozenset({TaskCreate, TaskAcquire, TaskHeartbeat})


class Entry(Struct):
    """A chain that waits for its transaction; a struct, as one is made for every chain."""

    chain: Sequence[Request]
    answer: Answer
    tail: Sequence[Outcome] = ()
    """Outcomes of operations behind the chain, refused at the door."""
    is_answered: bool = False
    size: int = 0
    """Bytes that the chain carries."""
    at_ms: int | None = None
    """The instant that the caller named; only in debug mode (§6.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """One start of a process whose leases are given back."""

    pid: str
    instance: str
    seat: str | None = None
    """With one: only leases that stand for this connection; the process may be elsewhere."""


@dataclass(frozen=True, slots=True)
class Back:
    """A process that sits down: its leases follow it here, but those that it does not know of.

    It gets tasks from the commit of this on.
    """

    seat: Seat

    @property
    def pid(self) -> str:
        """Whose leases these are."""
        return self.seat.member.pid


@dataclass(slots=True)
class Batch:
    """What one transaction does."""

    entries: list[Entry] = field(default_factory=list)
    due: bool = False
    """Whether it sweeps what is due, but for the suspects."""
    suspects: DueRows = NO_ROWS
    """Due rows that are swept by themselves, since the database refused them among others."""
    lost: list[Gone | Back] = field(default_factory=list)
    looks: Looks = NO_LOOKS
    """Waiting tasks that are looked at."""
    firing: Sequence[Due] = ()
    """Schedules that fire, as they were read; such a batch does nothing else."""
    at_ms: int | None = None
    """The instant of everything in it, where somebody named one; else the clock tells it."""

    @property
    def has_background(self) -> bool:
        """Whether it does anything that no caller asked for."""
        return bool(self.due or self.suspects.ids or self.lost or self.looks or self.firing)

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.entries) or self.has_background

    def parts(self) -> "list[Batch]":
        """Take it apart, to find what the database refuses; a part that is alone stays one.

        What the clock caused goes apart first: a row that the database refuses must neither cost
        a caller its answer, nor keep other background work from being done.
        """
        background = [Batch(lost=[gone]) for gone in self.lost]
        background += [Batch(looks=looks) for looks in self.looks.apart()]
        if self.due:
            background.append(Batch(due=True))
        if self.suspects.ids:
            background.append(Batch(suspects=self.suspects))
        if self.firing:
            background.append(Batch(firing=self.firing))
        for part in background:
            part.at_ms = self.at_ms
        if not self.entries:
            return background
        if background:
            return [Batch(entries=self.entries, at_ms=self.at_ms), *background]
        middle = len(self.entries) // 2
        halves = (self.entries[:middle], self.entries[middle:])
        return [Batch(entries=half, at_ms=self.at_ms) for half in halves if half]


@dataclass(slots=True)
class Decided:
    """What a batch came to, before it is committed."""

    outcomes: list[list[Outcome]]
    pushes: list[tuple[Seat, Task]] = field(default_factory=list)
    offers: list[tuple[Seat, TaskOffer]] = field(default_factory=list)
    settled: list[tuple[Seat, Promise]] = field(default_factory=list)
    unblocks: list[tuple[Relay, str, Promise]] = field(default_factory=list)
    """What members send on, and to which address."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """Per group what a look at its waiting tasks found."""
    step_counts: dict[str, int] = field(default_factory=dict)
    lateness_ms: list[int] = field(default_factory=list)
    """How late the sweep came to each deadline and each lease that it ended."""
    fired_late_ms: list[int] = field(default_factory=list)
    """How late each occurrence of a schedule was fired."""

    def given(self) -> list[str]:
        """List the tasks that somebody is given."""
        return [task.id for _, task in self.pushes] + [offer.id for _, offer in self.offers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A batch whose transaction has committed, and what is to be said about it."""

    loaded: Loaded
    decided: Decided
    changes: Changes
    preloads: Mapping[str, Preload]


def preload_ids(decided: Decided) -> list[str]:
    """List the tasks whose children an answer or a push carries."""
    ids = {task.id for _, task in decided.pushes}
    for outcomes in decided.outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Done) and outcome.preload_of is not None:
                ids.add(outcome.preload_of)
    return list(ids)


def projected(preload: Preload, now_ms: int) -> Preload:
    """Answer a preload as its records read at an instant."""
    if all(p.settled_at_ms is not None or p.timeout_at_ms > now_ms for p in preload.promises):
        return preload
    return replace(preload, promises=tuple(project(p, now_ms) for p in preload.promises))


def with_preloads(outcomes: list[Outcome], preloads: Mapping[str, Preload]) -> list[Outcome]:
    """Fill in the preloads that outcomes ask for."""
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Done) and outcome.preload_of is not None:
            outcomes[index] = replace(outcome, preload=preloads[outcome.preload_of])
    return outcomes


def at_seat(request: Request, seat: Seat) -> Request:
    """Record who takes or extends a lease, and where, if the process asks for itself."""
    if type(request) not in _WITH_PID:  # one look-up, where nearly none is of these
        return request
    assert isinstance(request, (TaskCreate, TaskAcquire, TaskHeartbeat))
    if request.pid != seat.member.pid:
        return request
    return replace(request, instance=seat.member.instance, seat=seat.id)


def unavailable(error: StorageError) -> Refusal:
    """Say to a caller what a failed transaction means for its operation."""
    if isinstance(error, CommitOutcomeUnknown):
        return Refusal(
            status=503,
            code="outcome_unknown",
            message="the database broke during the commit: the operation happened or did not",
        )
    return Refusal(
        status=503, code="database_unavailable", message=f"the database cannot be used: {error}"
    )
