"""Where a promise stands in its tree: ids and tags, exactly as the official TypeScript SDK's."""

from collections.abc import Mapping
from hashlib import blake2b

from holdfast.core.ids import flaw_of_text
from holdfast.core.records import (
    BRANCH,
    EXTERNAL,
    ORIGIN,
    PARENT,
    PREFIX,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
)

DETACHED_HEADER = "holdfast-detached"
"""Header of the param of a child that its parent does not wait for, nor take along when canceled.

No tag: the tags are those of the official SDKs, which tell it by the id, unless that was chosen.
"""

NAME_BYTES_MAX = 255
"""Of a group or a pid: both stand in addresses, which are ids and no longer than those."""


class Lineage:
    """The place of one promise. Immutable by convention."""

    __slots__ = ("branch", "id", "origin", "parent", "prefix")

    def __init__(
        self, promise_id: str, *, parent: str, branch: str, origin: str, prefix: str
    ) -> None:
        self.id = promise_id
        self.parent = parent
        self.branch = branch
        self.origin = origin
        self.prefix = prefix

    @classmethod
    def of(cls, promise: Promise) -> "Lineage":
        """Read the tags of a task's promise; whoever made it without tags made a root."""
        tags = promise.tags
        return cls(
            promise.id,
            parent=tags.get(PARENT, promise.id),
            branch=tags.get(BRANCH, promise.id),
            origin=tags.get(ORIGIN, promise.id),
            prefix=tags.get(PREFIX, promise.id),
        )

    def child(self, child_id: str, *, explicit: bool, local: bool) -> "Lineage":
        """Place a child; an explicit id begins a tree of its own, as does a detached one."""
        return Lineage(
            child_id,
            parent=self.id,
            branch=self.branch if local else child_id,
            origin=child_id if explicit else self.origin,
            prefix=self.prefix,
        )

    def detached_id(self, positional: str) -> str:
        """Name a detached child: short however deep the recursion that made it."""
        return f"{self.prefix}.d{blake2b(positional.encode(), digest_size=8).hexdigest()}"

    def tags(
        self, extra: Mapping[str, str] | None = None, *, local: bool = False
    ) -> dict[str, str]:
        """Write the tags of this promise; inside a workflow the caller's win."""
        tags = {
            SCOPE: "local" if local else "global",
            BRANCH: self.branch,
            PARENT: self.parent,
            ORIGIN: self.origin,
            PREFIX: self.prefix,
        }
        if extra:
            tags.update(extra)
        return tags


def remote_tags(tags: dict[str, str], target: str) -> dict[str, str]:
    """Add what lets a worker execute the promise; an explicit target tag of the caller stays."""
    tags.setdefault(TARGET, target)
    return tags


def timer_tags(tags: dict[str, str]) -> dict[str, str]:
    """Add what lets the deadline resolve the promise."""
    tags[TIMER] = "true"
    return tags


def root_tags(root_id: str, *, target: str, extra: Mapping[str, str] | None) -> dict[str, str]:
    """Write the tags of a root; at the top level the library's win."""
    return {
        **(extra or {}),
        SCOPE: "global",
        TARGET: target,
        BRANCH: root_id,
        PARENT: root_id,
        ORIGIN: root_id,
        PREFIX: root_id,
    }


def external_tags(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Write the tags of a promise that anybody may settle and await."""
    return {EXTERNAL: "true", **(extra or {})}


def target_address(target: str) -> str:
    """Make an address of a target: a bare name is a worker group."""
    return target if ":" in target else f"poll://any@{target}"


def member_name(text: str) -> str:
    """Answer the name of a group or a process; raise `ValueError` if no address can hold it."""
    flaw = flaw_of_text(text, field="it")
    if flaw is not None:
        raise ValueError(flaw)
    if any(c.isspace() or c in "/%" for c in text):
        raise ValueError("it must not contain white space, / or %: it is part of addresses")
    if len(text.encode()) > NAME_BYTES_MAX:
        raise ValueError(f"it must have at most {NAME_BYTES_MAX} bytes")
    return text


def run_target(group: str, pid: str) -> str:
    """Say where a run that begins here is resumed: here if possible, else in the group."""
    return f"poll://any@{group}/{pid}"


def listener_address(group: str, pid: str) -> str:
    """Say where a process is told of settlements."""
    return f"poll://uni@{group}/{pid}"


def prefixed(prefix: str | None, promise_id: str) -> str:
    """Put a client's prefix before an id, unless it is there already."""
    if not prefix or promise_id.startswith(f"{prefix}:"):
        return promise_id
    return f"{prefix}:{promise_id}"
