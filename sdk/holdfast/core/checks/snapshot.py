"""Everything that is stored at one moment, frozen: what the invariants are judged on."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.records import DELAY, Callback, Promise, Schedule, Task, Unblock

Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A whole store, indexed. Build it with `State.of`.

    Waiting `execute` messages are not listed: one waits iff its task's `queued_at_ms` is set.
    """

    promises: Mapping[str, Promise]
    tasks: Mapping[str, Task]
    callbacks: Mapping[tuple[str, str], Callback]
    """By awaited and awaiter."""
    listeners: frozenset[tuple[str, str]]
    """Pairs of promise id and address."""
    unblocks: Mapping[tuple[str, str], Unblock]
    """By promise id and address."""
    schedules: Mapping[str, Schedule]
    waits: Mapping[str, Sequence[Callback]] = field(compare=False)
    """Callbacks by awaiter."""
    carriers: frozenset[str] = field(compare=False)
    """Promises with at least one callback or listener."""
    repeated: tuple[str, ...]
    """Keys under which more than one row was given."""

    @classmethod
    def of(
        cls,
        *,
        promises: Iterable[Promise] = (),
        tasks: Iterable[Task] = (),
        callbacks: Iterable[Callback] = (),
        listeners: Iterable[tuple[str, str]] = (),
        unblocks: Iterable[Unblock] = (),
        schedules: Iterable[Schedule] = (),
    ) -> Self:
        """Index the rows of a store; of rows with the same key the last is kept."""
        repeated: list[str] = []
        by_pair = _index("callback", callbacks, lambda c: (c.awaited, c.awaiter), repeated)
        listening = _index("listener", listeners, lambda listener: listener, repeated)
        waits: dict[str, list[Callback]] = {}
        for callback in by_pair.values():
            waits.setdefault(callback.awaiter, []).append(callback)
        return cls(
            promises=_index("promise", promises, lambda p: p.id, repeated),
            tasks=_index("task", tasks, lambda t: t.id, repeated),
            callbacks=by_pair,
            listeners=frozenset(listening),
            unblocks=_index("unblock", unblocks, lambda u: (u.promise_id, u.address), repeated),
            schedules=_index("schedule", schedules, lambda s: s.id, repeated),
            waits=waits,
            carriers=frozenset([i for i, _ in by_pair] + [i for i, _ in listening]),
            repeated=tuple(repeated),
        )

    def needed(self, task: Task) -> tuple[Callback, ...]:
        """Callbacks of the task's current suspend, as opposed to left-over ones."""
        return tuple(c for c in self.waits.get(task.id, ()) if c.wait_version == task.version)


def delay_of(tags: Mapping[str, str]) -> int | None:
    """Read the delay tag; one that is malformed counts as beyond all deadlines."""
    delay = tags.get(DELAY)
    if delay is None:
        return None
    is_number = delay.isascii() and delay.isdigit() and len(delay) <= len(str(INTEGER_MAX))
    return int(delay) if is_number else INTEGER_MAX


def _index(
    kind: str, rows: Iterable[Row], key_of: Callable[[Row], Key], repeated: list[str]
) -> dict[Key, Row]:
    index: dict[Key, Row] = {}
    for row in rows:
        key = key_of(row)
        if key in index:
            repeated.append(f"{kind} {key}")
        index[key] = row
    return index


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that a state or a step breaks, and where. Holds no payload, so it may be logged."""

    rule: str
    """Number in the protocol, such as `I3` or `T12`; `H…` are this implementation's own."""
    meaning: str
    subject: str
    """What breaks it: an id, or the key of an obligation or message."""
    found: str

    def __str__(self) -> str:
        """One line for a log or an assertion."""
        return f"{self.rule} ({self.meaning}) broken by {self.subject}: {self.found}"
