"""Records, made quickly.

A frozen dataclass pays for every field of a new object, because it must go round its own refusal
of assignments: four times the price of a plain class, and loading a batch makes hundreds. A draft
has the slots of its record and no refusal. When it is filled its class becomes the record's, which
from then on is frozen as ever; Python refuses that step if the slots differ.
"""

from collections.abc import Mapping
from typing import Any

from holdfast.core.records import Promise, PromiseState, Task, TaskState, Value, WaitMode


class PromiseDraft:
    """A promise to be."""

    __slots__ = tuple(Promise.__slots__)

    id: str
    state: PromiseState
    param: Value
    value: Value
    tags: Mapping[str, str]
    timeout_at_ms: int
    created_at_ms: int
    settled_at_ms: int | None
    armed: bool


class TaskDraft:
    """A task to be."""

    __slots__ = tuple(Task.__slots__)

    id: str
    state: TaskState
    version: int
    resumes: frozenset[str]
    ttl_ms: int | None
    pid: str | None
    target: str
    lease_at_ms: int | None
    dispatch_at_ms: int | None
    queued_at_ms: int | None
    paced_until_ms: int
    instance: str | None
    wait_mode: WaitMode
    waiting_on: int
    unknown_releases: int
    deliveries: int
    reason: str | None


def promise_from(draft: Any) -> Promise:  # noqa: ANN401 - it changes its type here
    """Freeze a draft of which every field is set."""
    draft.__class__ = Promise
    promise: Promise = draft
    return promise


def task_from(draft: Any) -> Task:  # noqa: ANN401 - it changes its type here
    """Freeze a draft of which every field is set."""
    draft.__class__ = Task
    task: Task = draft
    return task
