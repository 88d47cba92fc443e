"""What the store keeps: promises, tasks, schedules. Instants and spans are milliseconds."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

PENDING = "pending"
RESOLVED = "resolved"
REJECTED = "rejected"
CANCELED = "rejected_canceled"
TIMED_OUT = "rejected_timedout"
SETTLED = (RESOLVED, REJECTED, CANCELED, TIMED_OUT)
SETTLABLE = (RESOLVED, REJECTED, CANCELED)
"""What a client may settle with: only the deadline writes `rejected_timedout`."""

ACQUIRED = "acquired"
SUSPENDED = "suspended"
HALTED = "halted"
FULFILLED = "fulfilled"
TASK_STATES = (PENDING, ACQUIRED, SUSPENDED, HALTED, FULFILLED)

ANY = "any"
ALL_SETTLED = "all_settled"
ALL_RESOLVED = "all_resolved"
WAIT_MODES = (ANY, ALL_SETTLED, ALL_RESOLVED)

UNKNOWN_FUNCTION = "unknown_function"
RELEASE_REASONS = (UNKNOWN_FUNCTION, "overloaded", "shutdown", "crashed")

TARGET = "resonate:target"
TIMER = "resonate:timer"
EXTERNAL = "resonate:external"
DELAY = "resonate:delay"
SCOPE = "resonate:scope"
BRANCH = "resonate:branch"
ORIGIN = "resonate:origin"
PARENT = "resonate:parent"
PREFIX = "resonate:prefix"
SCHEDULE = "resonate:schedule"

LARGEST = 2**53 - 1
"""The largest number of the protocol; sums stop here."""


class Refused(Exception):
    """The answer is not 200: a status and a text for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass
class Promise:
    """A durable promise: an id, a deadline, at most one settlement, and who waits for it."""

    id: str
    param: Json
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    state: str = PENDING
    value: Json = field(default_factory=dict)
    settled_at: int | None = None
    callbacks: set[str] = field(default_factory=set)  # promises whose tasks want to go on
    listeners: set[str] = field(default_factory=set)  # addresses that want to hear

    @property
    def is_targeted(self) -> bool:
        return TARGET in self.tags

    @property
    def is_timer(self) -> bool:
        return self.tags.get(TIMER) == "true"

    def record(self) -> Json:
        record = {
            "id": self.id,
            "state": self.state,
            "param": self.param,
            "value": self.value,
            "tags": self.tags,
            "timeoutAt": self.timeout_at,
            "createdAt": self.created_at,
        }
        return record if self.settled_at is None else {**record, "settledAt": self.settled_at}


@dataclass
class Task:
    """The right to execute a targeted promise. The version fences late holders."""

    id: str
    state: str = PENDING
    version: int = 0
    resumes: set[str] = field(default_factory=set)  # awaited promises that settled meanwhile
    pid: str | None = None
    ttl: int | None = None
    expires_at: int | None = None  # of the lease: only while acquired
    retry_at: int | None = None  # of the next dispatch: only while pending
    wait_mode: str = ANY  # of the suspend: only while suspended
    waits_for: set[str] = field(default_factory=set)  # what it awaits that is still open
    unknown_releases: int = 0  # for an unknown function, since it last got somewhere

    def enter(self, state: str) -> None:
        """Change the state; what belongs to the state that is left goes with it."""
        self.state = state
        self.pid = self.ttl = self.expires_at = self.retry_at = None
        self.wait_mode, self.waits_for = ANY, set()

    def record(self) -> Json:
        record = {
            "id": self.id,
            "state": self.state,
            "version": self.version,
            "resumes": len(self.resumes),
        }
        return record if self.pid is None else {**record, "pid": self.pid, "ttl": self.ttl}


@dataclass
class Schedule:
    """A promise to be created again and again."""

    id: str
    cron: str
    promise_id: str  # a template
    promise_timeout: int
    promise_param: Json
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    last_run_at: int | None = None
    paused: bool = False
    time_zone: str = ""  # by its IANA name; UTC without one

    def record(self) -> Json:
        record: Json = {
            "id": self.id,
            "cron": self.cron,
            "promiseId": self.promise_id,
            "promiseTimeout": self.promise_timeout,
            "promiseParam": self.promise_param,
            "promiseTags": self.promise_tags,
            "createdAt": self.created_at,
            "nextRunAt": self.next_run_at,
        }
        if self.last_run_at is not None:
            record["lastRunAt"] = self.last_run_at
        if self.paused:
            record["paused"] = True
        return record | ({"timeZone": self.time_zone} if self.time_zone else {})
