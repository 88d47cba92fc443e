"""What the cluster holds, as far as it was told: WorkerGroups and Deployments of one namespace.

Events of a watch and full listings arrive in any order, and a watch that broke says nothing about
what was deleted meanwhile. So the newer version of an object wins, and a listing removes what it
does not hold, unless that is newer than the listing.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from holdfast_operator.kube import Json, Listing
from holdfast_operator.model import BadSpec, WorkerGroupSpec, parse_spec
from holdfast_operator.plan import Target

Kind: TypeAlias = Literal["WorkerGroup", "Deployment"]

WORKER_GROUP: Final = "WorkerGroup"
DEPLOYMENT: Final = "Deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """A stored WorkerGroup; `spec` is a sentence if it cannot be read."""

    name: str
    uid: str
    created: str
    generation: int
    version: str
    spec: WorkerGroupSpec | str
    status: Mapping[str, Any]

    @property
    def target(self) -> str | None:
        """The name of the Deployment."""
        return None if isinstance(self.spec, str) else self.spec.scale_target_ref.name


class Mirror:
    """The objects of one namespace by kind and name.

    Invariant: no object is replaced by an older version of itself.
    """

    def __init__(self, wake: asyncio.Event) -> None:
        """Set `wake` whenever something changes."""
        self._objects: dict[Kind, dict[str, Json]] = {WORKER_GROUP: {}, DEPLOYMENT: {}}
        self._listed: set[Kind] = set()
        self._wake = wake

    @property
    def is_complete(self) -> bool:
        """Whether all kinds were listed once."""
        return len(self._listed) == len(self._objects)

    def put(self, kind: Kind, found: Json) -> None:
        """Learn of an object: from a watch, or from the answer to a write."""
        objects = self._objects[kind]
        name = found["metadata"]["name"]
        known = objects.get(name)
        if known is None or _version(found) >= _version(known):
            objects[name] = found
            if known is None or _version_text(found) != _version_text(known):
                self._wake.set()  # what was known already, as from an own write, is no news

    def remove(self, kind: Kind, gone: Json) -> None:
        """Learn that an object was deleted; one of the same name may have been created since."""
        objects = self._objects[kind]
        known = objects.get(gone["metadata"]["name"])
        if known is not None and _version(gone) >= _version(known):
            del objects[gone["metadata"]["name"]]
            self._wake.set()

    def drop(self, kind: Kind, name: str, *, uid: str) -> None:
        """Learn that an object, which a newer one of the same name is not, exists no more."""
        known = self._objects[kind].get(name)
        if known is not None and known["metadata"]["uid"] == uid:
            del self._objects[kind][name]
            self._wake.set()

    def replace(self, kind: Kind, listing: Listing) -> None:
        """Learn everything of a kind, as it was at the version of the listing."""
        objects = self._objects[kind]
        listed = {each["metadata"]["name"] for each in listing.items}
        for name in [n for n in objects if n not in listed]:
            if _version(objects[name]) <= _number(listing.version):
                del objects[name]
                self._wake.set()
        for each in listing.items:
            self.put(kind, each)
        self._listed.add(kind)

    # Reading

    def worker_groups(self) -> Iterator[WorkerGroup]:
        """Go through all WorkerGroups that are not being deleted, the oldest first."""
        found = [
            _worker_group(each)
            for each in self._objects[WORKER_GROUP].values()
            if "deletionTimestamp" not in each["metadata"]
        ]
        return iter(sorted(found, key=lambda group: (group.created, group.name)))

    def target(self, name: str) -> Target | None:
        """Find a Deployment that is not being deleted."""
        found = self._objects[DEPLOYMENT].get(name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        spec, status = found["spec"], found.get("status", {})
        return Target(
            name=name,
            wanted=spec.get("replicas", 1),
            existing=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            selector=selector_text(spec.get("selector", {})),
        )


def _worker_group(found: Json) -> WorkerGroup:
    metadata = found["metadata"]
    spec: WorkerGroupSpec | str
    try:
        spec = parse_spec(found.get("spec"))
    except BadSpec as error:
        spec = str(error)
    return WorkerGroup(
        name=metadata["name"],
        uid=metadata["uid"],
        created=metadata["creationTimestamp"],
        generation=metadata.get("generation", 0),
        version=metadata["resourceVersion"],
        spec=spec,
        status=found.get("status", {}),
    )


def selector_text(selector: Mapping[str, Any]) -> str:
    """Write a label selector as the text that queries and the scale subresource want."""
    parts = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    for expression in selector.get("matchExpressions", ()):
        key, values = expression["key"], ",".join(expression.get("values", ()))
        match expression["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def _version(found: Json) -> int:
    return _number(_version_text(found))


def _version_text(found: Json) -> str:
    return str(found["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    """Read a version as a number; all that were ever stored by Kubernetes are."""
    return int(version) if version.isdecimal() else 0
