"""Progress of workflows as server-sent events: how each is written, and where to go on.

An event's id says when that happened and to whom, so that any gateway can go on where another one
stopped. What came in the last seconds before `Last-Event-ID` is told again: stores do not agree on
the millisecond, and a repetition is known by its id, while a gap would never be noticed.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from holdfast_gateway.records import PromiseBody, PromiseStateName

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = b": still here\n\n"
RECONNECT: Final = b"retry: 2000\n\n"  # milliseconds
AGAIN_MS: Final = 10_000

Kind = Literal["workflow", "child", "more", "settled"]
_ID: Final = re.compile(r"([0-9]{1,16})-(workflow|child|more|settled)-(.*)")


class ChildBody(msgspec.Struct, rename="camel"):
    """A child as it reads now, without what it was given and what it returned."""

    id: str
    state: PromiseStateName
    created_at_ms: int
    settled_at_ms: int | UnsetType = UNSET


class MoreBody(msgspec.Struct, rename="camel"):
    """There are more children than are told of."""

    told_children: int


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, ready to be sent, and the id of the promise that it is about."""

    at_ms: int
    of: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Where a client stands: what it was told last."""

    at_ms: int
    kind: str
    of: str

    @classmethod
    def parse(cls, last_event_id: str) -> "Position | None":
        """Read a `Last-Event-ID`; one that is not ours is no position: everything is told then."""
        found = _ID.fullmatch(last_event_id)
        return None if found is None else cls(int(found[1]), found[2], found[3])

    def is_end_of(self, workflow_id: str) -> bool:
        """Tell whether nothing comes after this one."""
        return self.kind == "settled" and self.of == _quoted(workflow_id)

    def is_past(self, event: Event) -> bool:
        """Tell whether an event was surely sent before."""
        return event.at_ms < self.at_ms - AGAIN_MS


def workflow_event(promise: PromiseBody) -> Event:
    """Tell of a workflow that goes on."""
    return _event("workflow", promise.created_at_ms, promise.id, promise)


def settled_event(promise: PromiseBody) -> Event:
    """Tell of the end."""
    assert promise.settled_at_ms is not UNSET, "it has ended"
    return _event("settled", promise.settled_at_ms, promise.id, promise)


def child_event(child: ChildBody) -> Event:
    """Tell of a child that is new, or settled."""
    at_ms = child.created_at_ms if child.settled_at_ms is UNSET else child.settled_at_ms
    return _event("child", at_ms, child.id, child)


def more_event(workflow_id: str, *, told_children: int, at_ms: int) -> Event:
    """Tell that no more children are told of."""
    return _event("more", at_ms, workflow_id, MoreBody(told_children))


def _event(kind: Kind, at_ms: int, of: str, body: msgspec.Struct) -> Event:
    lines = (
        f"id: {at_ms}-{kind}-{_quoted(of)}".encode(),
        f"event: {kind}".encode(),
        b"data: " + msgspec.json.encode(body),  # JSON has no raw line break
        b"",
        b"",
    )
    return Event(at_ms, of, b"\n".join(lines))


def _quoted(promise_id: str) -> str:
    """Write an id so that it has no line break."""
    return quote(promise_id, safe="/.:")
