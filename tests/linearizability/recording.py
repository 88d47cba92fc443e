"""Recordings in the public formats: `.history` with intervals, `.ndjson` in one order.

A line is one request: `kind`, `now`, `req` (the data that was sent) and `res` (the whole answer);
a `.history` line also has `call` and `return` in nanoseconds, and `client`. Where a real clock
judged the request nobody outside knows its instant: `now` is left out then, and lies somewhere
between the two. A request that nobody answered has no `res`, and may have happened or not.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tests.linearizability.tree import Answer, Json, Promise, TaskSeen, value_of

PROMISE_KINDS: Final = frozenset(
    f"promise.{name}" for name in ("get", "create", "settle", "register_callback")
) | {"promise.register_listener"}
TASK_KINDS: Final = frozenset(
    f"task.{name}"
    for name in (
        *("get", "create", "acquire", "release", "fulfill", "suspend", "fence"),
        *("heartbeat", "halt", "continue"),
    )
)
WITH_PROMISE: Final = PROMISE_KINDS | {"task.create", "task.acquire", "task.fulfill"}
WITH_TASK: Final = frozenset({"task.get", "task.create", "task.acquire"})

_INDEFINITE_FROM: Final = 500
_MS_NS: Final = 1_000_000


class BadRecording(Exception):
    """A line is none that this checker can judge."""


@dataclass(frozen=True)
class Event:
    """One request: when it was open, and what came of it."""

    kind: str
    req: Json
    res: Json | None
    call_ns: int
    return_ns: int | None
    """`None` when no answer came."""
    client: str = ""
    now: int | None = None

    @cached_property
    def answer(self) -> Answer | None:
        """What was answered, as far as it is compared; `None` when nobody knows what happened."""
        if self.res is None or self.return_ns is None:
            return None
        status = int(self.res["head"]["status"])
        return None if status >= _INDEFINITE_FROM else _answer_of(self.kind, self.res)

    @cached_property
    def task_ids(self) -> tuple[str, ...] | None:
        """Which tasks the answer depends on; `None` for all of a tree."""
        if self.kind not in TASK_KINDS:
            return ()
        if self.kind == "task.create":
            return (self.req["action"]["data"]["id"],)
        if self.kind == "task.heartbeat":
            refs = self.req.get("tasks") or ()
            return tuple(dict.fromkeys(ref["id"] for ref in refs)) or None
        return (self.req["id"],)

    @cached_property
    def origin(self) -> str:
        """The tree: what stands before the first dot of the ids."""
        found = {each.partition(".")[0] for each in self.named}
        if len(found) != 1:
            raise BadRecording(f"{self.kind} names {sorted(found)}: trees that meet are not judged")
        return found.pop()

    @cached_property
    def named(self) -> frozenset[str]:
        """Every id that the request names."""
        req = self.req
        inner = [req["action"]] if "action" in req else []
        inner += req.get("actions", ())
        ids = {req[key] for key in ("id", "awaited", "awaiter") if key in req}
        ids |= {ref["id"] for ref in req.get("tasks") or ()}
        for action in inner:
            ids |= {v for k, v in action["data"].items() if k in {"id", "awaited", "awaiter"}}
        if not ids:  # an empty heartbeat: pids are told apart like ids, a tree for each
            ids = {req["pid"]}
        return frozenset(ids)

    def instants(self) -> Iterable[int]:
        """Instants of which the answer tells; the request may have been judged at one of them."""
        answer = self.answer
        if answer is None:
            return
        for promise in (answer.promise, answer.inner.promise if answer.inner else None):
            if promise is not None:
                yield promise.created_at
                if promise.settled_at is not None:
                    yield promise.settled_at

    @property
    def call_ms(self) -> int:
        return self.call_ns // _MS_NS

    @property
    def return_ms(self) -> int | None:
        return None if self.return_ns is None else self.return_ns // _MS_NS

    def line(self, *, now: int | None, with_interval: bool) -> str:
        """Write it down."""
        written: dict[str, Any] = {"kind": self.kind}
        if now is not None:
            written["now"] = now
        written |= {"req": self.req} | ({} if self.res is None else {"res": self.res})
        if with_interval:
            written |= {"call": self.call_ns, "client": self.client}
            written |= {} if self.return_ns is None else {"return": self.return_ns}
        return json.dumps(written, ensure_ascii=False, separators=(",", ":"))


def read(path: Path) -> list[Event]:
    """Read a `.history`."""
    lines = path.read_text().splitlines()
    return [event_of(json.loads(line)) for line in lines if line.strip()]


def event_of(line: Json) -> Event:
    """Read one line."""
    kind = line["kind"]
    if kind not in PROMISE_KINDS | TASK_KINDS:
        raise BadRecording(f"{kind} is not judged")
    return Event(
        kind=kind,
        req=line["req"],
        res=line.get("res"),
        call_ns=line["call"],
        return_ns=line.get("return"),
        client=str(line.get("client", "")),
        now=line.get("now"),
    )


def write(path: Path, events: Sequence[Event]) -> None:
    """Write a `.history`."""
    lines = (event.line(now=event.now, with_interval=True) for event in events)
    path.write_text("".join(f"{line}\n" for line in lines))


def by_origin(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Sort requests by their trees."""
    trees: dict[str, list[Event]] = {}
    for event in events:
        trees.setdefault(event.origin, []).append(event)
    return trees


def _answer_of(kind: str, res: Json) -> Answer:
    status = int(res["head"]["status"])
    data = res.get("data")
    if status != 200 or not isinstance(data, dict):
        return Answer(status=status)
    inner = data.get("action") if kind == "task.fence" else None
    return Answer(
        status=status,
        promise=promise_of(data["promise"]) if kind in WITH_PROMISE else None,
        task=_task_of(data["task"]) if kind in WITH_TASK else None,
        inner=None if inner is None else _answer_of(inner["kind"], inner),
    )


def promise_of(record: Json) -> Promise:
    """Read a promise record."""
    return Promise(
        id=record["id"],
        state=record["state"],
        param=value_of(record.get("param")),
        value=value_of(record.get("value")),
        tags=frozenset((record.get("tags") or {}).items()),
        timeout_at=record["timeoutAt"],
        created_at=record["createdAt"],
        settled_at=record.get("settledAt"),
    )


def _task_of(record: Json) -> TaskSeen:
    return TaskSeen(
        id=record["id"],
        state=record["state"],
        version=record["version"],
        resumes=record.get("resumes", 0),
        ttl=record.get("ttl"),
        pid=record.get("pid"),
    )
