"""Where a promise stands in its tree: ids and tags, exactly as the official TypeScript SDK's."""

from collections.abc import Mapping
from hashlib import blake2b

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
