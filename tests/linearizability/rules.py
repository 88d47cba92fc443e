"""The black-box rules B2 to B9 of the protocol, each read off a recording by itself.

The search of `checker` refutes what breaks them as well; these say which rule it was. They look
only at requests that did not overlap, so that whatever they find is certain.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from tests.linearizability.recording import Event, by_origin
from tests.linearizability.tree import Promise, TaskSeen

_FENCED: Final = frozenset({"task.release", "task.fulfill", "task.suspend", "task.fence"})


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule, and what broke it."""

    rule: str
    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} broken at {self.subject}: {self.what}"


def breaches(events: Iterable[Event], *, patience_ms: int = 30_000) -> list[Breach]:
    """Judge a recording by every rule."""
    found: list[Breach] = []
    for requests in by_origin(events).values():
        ordered = sorted(requests, key=lambda e: e.call_ns)
        for rule in _RULES:
            found += rule(ordered)
        found += _suspended_for_ever(ordered, patience_ms)
    return found


# What a response shows


def promises_in(event: Event) -> Iterator[Promise]:
    """Yield the records that a response shows."""
    answer = event.answer
    for shown in (answer, answer.inner if answer else None):
        if shown is not None and shown.promise is not None:
            yield shown.promise


def _task_in(event: Event) -> TaskSeen | None:
    return None if event.answer is None else event.answer.task


def _is_done(event: Event, *kinds: str) -> bool:
    return event.kind in kinds and event.answer is not None and event.answer.status == 200


def _before(first: Event, second: Event) -> bool:
    """Whether one was answered when the other was not asked yet."""
    return first.return_ns is not None and first.return_ns < second.call_ns


def _shown(events: Sequence[Event]) -> Mapping[str, list[tuple[Event, Promise]]]:
    shown: dict[str, list[tuple[Event, Promise]]] = defaultdict(list)
    for event in events:
        for promise in promises_in(event):
            shown[promise.id].append((event, promise))
    return shown


# Rules


def _settled_stays(events: Sequence[Event]) -> Iterator[Breach]:
    """B2: once a response shows a promise settled, every later one for it is identical."""
    for name, shown in _shown(events).items():
        settled = [(e, p) for e, p in shown if p.state != "pending"]
        for (first, was), (second, is_) in combinations(shown, 2):
            if was.state != "pending" and _before(first, second) and is_ != was:
                yield Breach("B2", name, f"{was.state} became {is_.state}, {second.kind}")
        for (first, was), (second, is_) in combinations(settled, 2):
            if was != is_ and not _before(first, second):
                yield Breach("B2", name, f"{was.state} and {is_.state} at once")


def _fulfilled_stays(events: Sequence[Event]) -> Iterator[Breach]:
    """B3: once `task.get` shows fulfilled, it stays so with the same version."""
    for name, shown in _tasks(events).items():
        for (first, was), (second, is_) in combinations(shown, 2):
            if was.state != "fulfilled" or not _before(first, second):
                continue
            if (is_.state, is_.version) != (was.state, was.version):
                yield Breach("B3", name, f"fulfilled at {was.version}, then {is_.state}")


def _one_acquires(events: Sequence[Event]) -> Iterator[Breach]:
    """B4: exactly one of the acquires of one id and version succeeds."""
    winners: dict[tuple[str, int], Event] = {}
    for event in events:
        if not _is_done(event, "task.acquire"):
            continue
        key = (event.req["id"], event.req["version"])
        if key in winners:
            yield Breach("B4", key[0], f"version {key[1]} was acquired twice")
        winners[key] = event


def _versions_grow(events: Sequence[Event]) -> Iterator[Breach]:
    """B5: versions observed for one id never decrease."""
    for name, shown in _tasks(events).items():
        for (first, was), (second, is_) in combinations(shown, 2):
            if _before(first, second) and is_.version < was.version:
                yield Breach("B5", name, f"version {was.version}, then {is_.version}")


def _suspended_for_ever(events: Sequence[Event], patience_ms: int) -> Iterator[Breach]:
    """B6: a suspended task leaves that state when any awaited promise settles."""
    shown = _shown(events)
    for suspend in (e for e in events if _is_done(e, "task.suspend")):
        task_id, version = suspend.req["id"], suspend.req["version"]
        awaited = {action["data"]["awaited"] for action in suspend.req["actions"]}
        for read in (e for e in events if e.kind == "task.get" and e.req["id"] == task_id):
            seen = _task_in(read)
            if seen is None or not _before(suspend, read):
                continue
            if (seen.state, seen.version) != ("suspended", version):
                continue
            for name in awaited:
                for event, promise in shown.get(name, ()):
                    waited_ns = read.call_ns - (event.return_ns or read.call_ns)
                    if promise.state != "pending" and waited_ns > patience_ms * 1_000_000:
                        what = f"still suspended {waited_ns // 1_000_000} ms after {name} settled"
                        yield Breach("B6", task_id, what)


def _late_writers_fail(events: Sequence[Event]) -> Iterator[Breach]:
    """B7: a fenced write fails once a larger version was acquired before it started."""
    acquired = [e for e in events if _is_done(e, "task.acquire", "task.create")]
    for write in events:
        if write.kind not in _FENCED or write.answer is None or write.answer.status >= 400:
            continue
        for event in acquired:
            task = _task_in(event)
            if task is None or task.id != write.req["id"] or not _before(event, write):
                continue
            if task.version > write.req["version"]:
                what = f"{write.kind} by {write.req['version']} after {task.version} was acquired"
                yield Breach("B7", task.id, what)


def _births_stay(events: Sequence[Event]) -> Iterator[Breach]:
    """B8: repeating a request returns the same record: nothing of its birth ever differs."""
    for name, shown in _shown(events).items():
        births = {(p.param, p.tags, p.timeout_at, p.created_at): e for e, p in shown}
        if len(births) > 1:
            kinds = sorted({event.kind for event in births.values()})
            yield Breach("B8", name, f"{len(births)} different births were shown by {kinds}")


def _settles_absorb(events: Sequence[Event]) -> Iterator[Breach]:
    """B9: to settle twice is to settle once."""
    settled: dict[str, Promise] = {}
    for event in events:
        inner = event.kind == "task.fence" and event.req["action"]["kind"] == "promise.settle"
        if not (inner or _is_done(event, "promise.settle", "task.fulfill")):
            continue
        for promise in promises_in(event):
            if settled.setdefault(promise.id, promise) != promise:
                yield Breach("B9", promise.id, "two settlements were both said to count")


def _tasks(events: Sequence[Event]) -> Mapping[str, list[tuple[Event, TaskSeen]]]:
    shown: dict[str, list[tuple[Event, TaskSeen]]] = defaultdict(list)
    for event in events:
        task = _task_in(event)
        if task is not None:
            shown[task.id].append((event, task))
    return shown


_RULES: Final[Sequence[Callable[[Sequence[Event]], Iterator[Breach]]]] = (
    _settled_stays,
    _fulfilled_stays,
    _one_acquires,
    _versions_grow,
    _late_writers_fail,
    _births_stay,
    _settles_absorb,
)
