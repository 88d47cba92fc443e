"""Stored rows at one instant, sound by themselves, that tests combine and break."""

from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from holdfast.core.checks.snapshot import State, Violation
from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
)
from tests.unit.holdfast.core.build import EXT, TGT

Row = Promise | Task | Callback | Unblock | Schedule | tuple[str, str]
"""A stored row; a pair is a listener."""

NOW_MS = 500
END_MS = 1_000
W1 = "poll://any@w1"
ADDRESS = "poll://uni@g/1"

AWAITED = Promise(id="a", tags=EXT, created_at_ms=100, timeout_at_ms=END_MS, armed=True)
SETTLED = replace(AWAITED, id="s", state=PromiseState.RESOLVED, settled_at_ms=200, armed=False)
RUN = replace(AWAITED, id="x", tags=TGT)
RUN_ENDED = replace(RUN, state=PromiseState.RESOLVED, settled_at_ms=NOW_MS, armed=False)
PENDING = Task(id="x", target=W1, version=1, dispatch_at_ms=NOW_MS, deliveries=1)
HELD = Task(
    id="x",
    target=W1,
    state=TaskState.ACQUIRED,
    version=1,
    pid="p",
    ttl_ms=50,
    lease_at_ms=NOW_MS + 50,
    deliveries=1,
)
PARKED = Task(id="x", target=W1, state=TaskState.SUSPENDED, version=1, waiting_on=1)
HALTED = Task(id="x", target=W1, state=TaskState.HALTED, version=1, reason="halted")
WAIT = Callback(awaited="a", awaiter="x", wait_version=1)
PLAN = Schedule(
    id="nightly",
    cron="* * * * *",
    promise_id="{{.id}}.{{.timestamp}}",
    promise_timeout_ms=50,
    promise_tags=TGT,
    created_at_ms=100,
    next_run_at_ms=60_000,
)
UNBLOCK = Unblock(promise_id="s", address=ADDRESS, enqueued_at_ms=NOW_MS)


def store(*rows: Row) -> State:
    """Make the state that holds these rows."""
    return State.of(
        promises=[row for row in rows if isinstance(row, Promise)],
        tasks=[row for row in rows if isinstance(row, Task)],
        callbacks=[row for row in rows if isinstance(row, Callback)],
        listeners=[row for row in rows if isinstance(row, tuple)],
        unblocks=[row for row in rows if isinstance(row, Unblock)],
        schedules=[row for row in rows if isinstance(row, Schedule)],
    )


def names(violations: Iterable[Violation]) -> set[tuple[str, str]]:
    """Name the rules that were broken."""
    return {(violation.rule, violation.meaning) for violation in violations}


class Numbered(Protocol):
    """A rule of any table."""

    @property
    def number(self) -> str: ...

    @property
    def meaning(self) -> str: ...


def laws(*tables: Iterable[Numbered]) -> set[tuple[str, str]]:
    """Name every rule of some tables."""
    return {(rule.number, rule.meaning) for table in tables for rule in table}
