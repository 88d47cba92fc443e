"""Carries out what was planned: looks at pods, marks those that shall go, scales, writes, tells.

Every write may be lost or repeated without harm: marks and scales are absolute, a scale and a
status are guarded by the version that was read, and the next look repairs what this one left half
done. The marks come before the scale, for the controller that ends pods reads them when it does.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.rpc.admin import ConnectedMember
from holdfast_chassis.logs import get_logger
from holdfast_operator import model
from holdfast_operator.kube import Conflict, Json, Kube, KubeError, NotFound
from holdfast_operator.mirror import WorkerGroup
from holdfast_operator.plan import Pod, Pods, Scale, StoreSilent, Target, Work
from holdfast_operator.status import Notice
from holdfast_operator.store import QueueWatch

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
GOES_FIRST: Final = -1_000_000
"""The cost of a pod that shall go and holds nothing; each task that it holds adds one."""

REQUESTS_AT_ONCE: Final = 8

COMPONENT: Final = "holdfast-operator"

log = get_logger("holdfast_operator.apply")


class Hands:
    """Acts for one namespace."""

    def __init__(self, kube: Kube, queues: QueueWatch, *, namespace: str) -> None:
        self._kube = kube
        self._queues = queues
        self._namespace = namespace

    async def look_at_pods(
        self, target: Target, groups: Sequence[str], *, work: Work | StoreSilent
    ) -> Pods:
        """See which pods of a target hold tasks; raises `KubeError` or `ResonateError`.

        Only an order asks for pods while the store is silent: then nobody knows who is busy.
        """
        members: Sequence[ConnectedMember] = ()
        running = 0
        if isinstance(work, Work):
            members, running = await self._queues.list_members(), work.running
        listing = await self._kube.list_pods(selector=target.selector)
        return pods_of(listing.items, members, groups=groups, running=running)

    async def scale(self, target: Target, scale: Scale) -> bool:
        """Mark and scale; answer `False` if somebody had scaled the same way before.

        Raises `Conflict` if somebody scaled in another way since the target was read.
        """
        await self._mark(scale)
        current = await self._kube.get_scale(target.name)
        if current.replicas == scale.replicas:
            return False
        if current.replicas != target.wanted:
            message = f"Deployment {target.name} was scaled to {current.replicas} by somebody else"
            raise Conflict(message)
        await self._kube.set_scale(target.name, scale.replicas, version=current.version)
        log.info(
            "deployment_scaled",
            deployment=target.name,
            replicas_before=target.wanted,
            replicas=scale.replicas,
        )
        return True

    async def set_status(self, group: WorkerGroup, status: Json) -> Json:
        """Write a status, unless the object changed since it was read.

        A merge patch keeps what it does not name, so what is not known any more is named as gone.
        """
        gone: Json = dict.fromkeys(group.status.keys() - status.keys())
        return await self._kube.set_status(group.name, gone | status, version=group.version)

    async def tell(self, group: WorkerGroup, notices: Sequence[Notice]) -> None:
        """Record events. They are for people: one that cannot be written is logged and left."""
        for notice in notices:
            try:
                await self._kube.create_event(self._event(group, notice))
            except KubeError as error:
                log.warning("event_not_written", event_reason=notice.reason, error=str(error))

    async def _mark(self, scale: Scale) -> None:
        """Say which pods shall go first, many at a time."""
        slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def annotate(pod: Pod, cost: str | None) -> None:
            async with slots:
                try:
                    await self._kube.annotate_pod(pod.name, {DELETION_COST: cost})
                except NotFound:
                    log.debug("pod_gone_before_its_mark", pod=pod.name)

        wishes: list[tuple[Pod, str | None]] = [
            *((pod, str(GOES_FIRST + (pod.held or 0))) for pod in scale.mark),
            *((pod, None) for pod in scale.unmark),
        ]
        failures = await asyncio.gather(
            *(annotate(pod, cost) for pod, cost in wishes), return_exceptions=True
        )
        for failure in failures:
            if failure is not None:
                raise failure

    def _event(self, group: WorkerGroup, notice: Notice) -> Json:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        instant = f"{now[:19]}Z"
        return {
            "metadata": {"generateName": f"{group.name}.", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": model.API_VERSION,
                "kind": model.KIND,
                "namespace": self._namespace,
                "name": group.name,
                "uid": group.uid,
                "resourceVersion": group.version,
            },
            "type": notice.type,
            "reason": notice.reason,
            "action": notice.action,
            "message": notice.message[:1_024],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": socket.gethostname(),
            "firstTimestamp": instant,
            "lastTimestamp": instant,
            "eventTime": now,
            "count": 1,
        }


def pods_of(
    pods: Sequence[Mapping[str, Any]],
    members: Sequence[ConnectedMember],
    *,
    groups: Sequence[str],
    running: int,
) -> Pods:
    """Match pods to members by name: a worker in a pod is called as its pod.

    Tasks that run and that no connected member of the groups holds are unaccounted for: they were
    acquired without a stream, or before the member came back, or by a member of another replica of
    the store.
    """
    held = {member.pid: member.held for member in members}
    seen = []
    for pod in pods:
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            continue
        name = metadata["name"]
        marks = metadata.get("annotations") or {}
        seen.append(
            Pod(
                name=name,
                held=held.get(name),
                marked=_is_mark(marks.get(DELETION_COST, "")),
            )
        )
    known = sum(member.held for member in members if not set(groups).isdisjoint(member.groups))
    return Pods(pods=tuple(seen), unaccounted=max(0, running - known))


def _is_mark(cost: str) -> bool:
    """Tell our marks from costs that somebody else set."""
    return cost.removeprefix("-").isdecimal() and int(cost) <= GOES_FIRST // 2
