"""Who takes part in a store, and what it is sent (§13)."""

from dataclasses import dataclass
from enum import StrEnum

from holdfast.core.records import Preload, Promise, Task


class DeliveryMode(StrEnum):
    """How a member is given tasks."""

    ACQUIRED = "acquired"
    """The store acquires for the member and pushes task, promise and preload."""
    OFFERED = "offered"
    """The store pushes the bare id and version; the member acquires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A process as it introduces itself.

    `instance` is random per start of the process: only the same instance inherits the leases of
    an earlier connection with the same pid. `functions`, when given, lists `name` or
    `name@version`; tasks that name another function are not given to this member.
    """

    pid: str
    instance: str
    groups: tuple[str, ...] = ()
    credits: int = 0
    """Tasks that it can run now; one is taken by each push and given back by the member."""
    lease_ttl_ms: int = 60_000
    delivery_mode: DeliveryMode = DeliveryMode.ACQUIRED
    functions: frozenset[str] | None = None
    name: str = ""
    """Last part of its addresses, where that is not the pid; the first who has it receives."""
    prefix: str = ""
    """What it is sent is about ids that begin with this; empty for all."""
    owner: str = ""
    """The subject of its token, where tokens are asked for: never told, and never asked for."""
    held: frozenset[tuple[str, int]] | None = None
    """Leases that it knows of, as id and version. Given, every other lease of this instance is
    given back: the push of its task was lost with the connection that carried it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPush:
    """A task that the store acquired for a member."""

    task: Task
    promise: Promise
    preload: Preload


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOffer:
    """A pending task that a member may acquire at this version, and its target."""

    id: str
    version: int
    address: str = ""
