"""The loop: observe, plan, apply, for each WorkerGroup, again and again.

Level-triggered: an event only ends the wait early. Each look starts from what is known now, so a
look that failed, or was never finished, is repaired by the next one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from holdfast.errors import ResonateError
from holdfast_chassis.logs import get_logger
from holdfast_operator import metrics
from holdfast_operator.apply import Hands
from holdfast_operator.findings import (
    Finding,
    decision,
    findings_of,
    findings_of_bad_spec,
    trouble,
)
from holdfast_operator.kube import (
    Conflict,
    Forbidden,
    Kube,
    KubeError,
    NotFound,
    Refused,
    TooManyRequests,
)
from holdfast_operator.mirror import WORKER_GROUP, Mirror, WorkerGroup
from holdfast_operator.model import WorkerGroupStatus, parse_status, status_document
from holdfast_operator.pacing import at_most, pause_s
from holdfast_operator.plan import (
    BLIND,
    LOOK_AGAIN_MS,
    Memory,
    Observation,
    Plan,
    Reason,
    StoreSilent,
    Work,
    is_young,
    plan,
)
from holdfast_operator.status import (
    FORBIDDEN,
    REFUSED,
    SCALED_UP,
    differs_in_substance,
    next_status,
    notice_of_scaling,
    notices_between,
)
from holdfast_operator.store import QueueWatch

LOOKS_AT_ONCE: Final = 8
LOOK_S_MAX: Final = 60.0
"""Longest time for one look. It only ends what hangs: each request has a shorter limit."""

log = get_logger("holdfast_operator.control")


def clock_ms() -> int:
    """Read the clock that plans live on: it never goes back, and means nothing elsewhere."""
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class _Care:
    """What is remembered about one WorkerGroup between two looks."""

    memory: Memory = BLIND
    is_looked_at: bool = False
    look_again: bool = False
    """Something happened during a look: the next one begins when it ends."""
    written: WorkerGroupStatus | None = None
    """What was written last. The API server may have stored less: its schema may be older."""
    written_at_ms: int | None = None
    scaled_at: str | None = None
    failures: int = 0
    not_before_ms: int = 0
    asked_at_ms: int | None = None
    """When the replicas of the store were asked for members of a group without a trace."""


class Control:
    """Looks after all WorkerGroups of a mirror.

    Invariant: a WorkerGroup is looked at by one task at a time. None waits for another: a look that
    hangs must not keep a WorkerGroup at zero whose first task has come.
    """

    def __init__(
        self,
        *,
        kube: Kube,
        hands: Hands,
        mirror: Mirror,
        queues: QueueWatch,
        wake: asyncio.Event,
        interval_ms: int,
        status_interval_ms: int,
        clock_ms: Callable[[], int] = clock_ms,
    ) -> None:
        self._kube = kube
        self._hands = hands
        self._mirror = mirror
        self._queues = queues
        self._wake = wake
        self._interval_s = interval_ms / 1000
        self._status_interval_ms = status_interval_ms
        self._clock_ms = clock_ms
        self._cares: dict[str, _Care] = {}
        self._quiet_until_ms = 0
        self._slots = asyncio.Semaphore(LOOKS_AT_ONCE)
        self.turned_at_ms = clock_ms()
        """When a look or a round ended last: what liveness is judged by."""

    async def run(self) -> None:
        """Look at everything whenever something changed, and once an interval; until cancelled."""
        async with asyncio.TaskGroup() as looks:
            while True:
                self._wake.clear()
                if self._mirror.is_complete:
                    self._begin(looks)
                self.turned_at_ms = self._clock_ms()
                await at_most(self._interval_s, self._wake.wait)

    async def round(self) -> None:
        """Look once at each WorkerGroup."""
        async with asyncio.TaskGroup() as looks:
            self._begin(looks)

    def _begin(self, looks: asyncio.TaskGroup) -> None:
        """Begin to look at each WorkerGroup, but for those that are being looked at."""
        groups = list(self._mirror.worker_groups())
        self._forget_all_but(group.name for group in groups)
        owners: dict[str, str] = {}
        for group in groups:  # the oldest first, so that it owns its target
            if group.target is not None:
                owners.setdefault(group.target, group.name)
        for group in groups:
            care = self._care_for(group.name)
            if care.is_looked_at:
                care.look_again = True
                continue
            owner = None if group.target is None else owners[group.target]
            rival = None if owner == group.name else owner
            care.is_looked_at = True
            looks.create_task(self._look_alone(group, rival, care))

    def _forget_all_but(self, names: Iterable[str]) -> None:
        for name in self._cares.keys() - set(names):
            if self._cares[name].is_looked_at:
                continue  # a later round forgets it
            del self._cares[name]
            metrics.forget(name)
            log.info("worker_group_forgotten", worker_group=name)

    # One WorkerGroup

    def _care_for(self, name: str) -> _Care:
        care = self._cares.get(name)
        if care is None:
            care = self._cares[name] = _Care()
            log.info("worker_group_found", worker_group=name)
        return care

    async def _look_alone(self, group: WorkerGroup, rival: str | None, care: _Care) -> None:
        try:
            await self._look_within_limits(group, rival, care)
        finally:
            care.is_looked_at = False
        if care.look_again:
            care.look_again = False
            self._wake.set()

    async def _look_within_limits(self, group: WorkerGroup, rival: str | None, care: _Care) -> None:
        """Look, count how it ended, and wait longer after each failure.

        A write that met a newer version is a failure, too, until the mirror has heard of that.
        """
        now_ms = self._clock_ms()
        if now_ms < max(care.not_before_ms, self._quiet_until_ms):
            return
        async with self._slots:
            with metrics.reconcile_seconds.time():
                outcome = await self._look_safely(group, rival, care)
        self.turned_at_ms = self._clock_ms()
        metrics.reconciles.labels(outcome).inc()
        failed = outcome in {metrics.FAILED, metrics.CONFLICT}
        care.failures = care.failures + 1 if failed else 0
        if care.failures:
            care.not_before_ms = self._clock_ms() + int(pause_s(care.failures) * 1000)

    async def _look_safely(self, group: WorkerGroup, rival: str | None, care: _Care) -> str:
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                return await self._look(group, rival, care)
        except TooManyRequests as error:
            self._quiet_until_ms = self._clock_ms() + int(error.retry_after_s * 1000)
            log.warning("kubernetes_overloaded", error=str(error))
        except Conflict as error:
            await self._look_it_up(group)
            log.debug("write_refused", worker_group=group.name, error=str(error))
            return metrics.CONFLICT
        except NotFound as error:
            await self._look_it_up(group)
            log.debug("worker_group_gone", worker_group=group.name, error=str(error))
            return metrics.CONFLICT
        except (KubeError, TimeoutError) as error:
            log.warning("look_failed", worker_group=group.name, error=str(error) or "timeout")
        except Exception:  # one WorkerGroup must not end the care for the others
            log.exception("look_failed", worker_group=group.name)
        return metrics.FAILED

    async def _look(self, group: WorkerGroup, rival: str | None, care: _Care) -> str:
        """Observe, plan, apply."""
        if isinstance(group.spec, str):
            await self._write(group, care, findings_of_bad_spec(group.spec))
            return metrics.UNCHANGED
        target = self._mirror.target(group.spec.scale_target_ref.name)
        work = self._work_of(group.spec.groups, parse_status(group.status))
        if isinstance(work, Work) and work.unknown and target is not None and target.ready:
            work = await self._with_joined(work, care)
        seen = Observation(
            spec=group.spec,
            target=target,
            work=work,
            rival=rival,
            memory=care.memory,
            now_ms=self._clock_ms(),
        )
        made = plan(seen)
        hindrance: Finding | None = None
        if made.wants_pods:
            try:
                seen = await self._with_pods(seen)
            except Forbidden as error:
                hindrance = _hindrance(error)
            else:
                made = plan(seen)
        _measure(group.name, seen, made)
        return await self._apply(group, care, seen, made, hindrance)

    def _work_of(self, groups: Sequence[str], before: WorkerGroupStatus) -> Work | StoreSilent:
        """Add up the queues; a group that was known once is idle, and not unknown."""
        work = self._queues.work_of(groups)
        if isinstance(work, StoreSilent):
            return work
        unknown = tuple(group for group in work.unknown if group not in before.known_groups)
        return replace(work, unknown=unknown)

    async def _with_joined(self, work: Work, care: _Care) -> Work:
        """Ask every replica of the store for the groups that the reporting one has no trace of.

        A report counts the members of one replica. Who was found is in the status from then on.
        """
        now_ms = self._clock_ms()
        if care.asked_at_ms is not None and now_ms - care.asked_at_ms < LOOK_AGAIN_MS:
            return work
        care.asked_at_ms = now_ms
        try:
            joined = await self._queues.list_joined_groups()
        except ResonateError as error:
            log.debug("members_not_known", error=error.message)
            return work
        return replace(work, unknown=tuple(g for g in work.unknown if g not in joined))

    async def _with_pods(self, seen: Observation) -> Observation:
        assert seen.target is not None
        if isinstance(seen.work, StoreSilent) and is_young(seen.work, now_ms=seen.now_ms):
            raise StoreWentAway(f"the members are not known: {seen.work.reason}")
        try:
            pods = await self._hands.look_at_pods(seen.target, seen.spec.groups, work=seen.work)
        except ResonateError as error:
            raise StoreWentAway(f"the members are not known: {error.message}") from error
        return replace(seen, pods=pods)

    async def _apply(
        self,
        group: WorkerGroup,
        care: _Care,
        seen: Observation,
        made: Plan,
        hindrance: Finding | None,
    ) -> str:
        """Scale, tell, write the status; a loss in between is repaired by the next look.

        What was planned is remembered only once it was carried out.
        """
        scaled = False
        if made.scale is not None and seen.target is not None:
            try:
                scaled = await self._hands.scale(seen.target, made.scale)
            except (Forbidden, Refused) as error:
                hindrance = _hindrance(error)
            except NotFound:  # it was deleted a moment ago, and the mirror will soon say so
                log.debug("deployment_gone", worker_group=group.name)
        care.memory = made.memory
        if scaled:
            care.scaled_at = _now()
            await self._note_scaling(group, seen, made)
        if made.quiet:
            return metrics.HELD
        findings = findings_of(seen, made, trouble=hindrance)
        await self._write(group, care, findings, seen=seen, made=made)
        if hindrance is not None:
            return metrics.FAILED
        if scaled:
            return metrics.SCALED
        return metrics.HELD if made.reason is Reason.STORE_UNREACHABLE else metrics.UNCHANGED

    async def _note_scaling(self, group: WorkerGroup, seen: Observation, made: Plan) -> None:
        notice = notice_of_scaling(seen, made, decision(seen, made))
        direction = metrics.UP if notice.reason == SCALED_UP else metrics.DOWN
        metrics.scalings.labels(group.name, direction).inc()
        await self._hands.tell(group, [notice])

    async def _write(
        self,
        group: WorkerGroup,
        care: _Care,
        findings: tuple[Finding, ...],
        *,
        seen: Observation | None = None,
        made: Plan | None = None,
    ) -> None:
        """Write the status if it is worth it, and then the events of what changed."""
        before = parse_status(group.status)
        after = next_status(
            before,
            findings,
            seen=seen,
            plan=made,
            generation=group.generation,
            now=_now(),
            scaled_at=care.scaled_at,
        )
        if not self._is_worth_writing(before, after, care):
            return
        stored = await self._hands.set_status(group, status_document(after))
        care.written, care.written_at_ms = after, self._clock_ms()
        self._mirror.put(WORKER_GROUP, stored)
        await self._hands.tell(group, notices_between(before, after))

    def _is_worth_writing(
        self, before: WorkerGroupStatus, after: WorkerGroupStatus, care: _Care
    ) -> bool:
        if before == after:
            return False
        if care.written is None or care.written_at_ms is None:
            return True
        if differs_in_substance(before, after) and differs_in_substance(care.written, after):
            return True
        return self._clock_ms() - care.written_at_ms >= self._status_interval_ms

    async def _look_it_up(self, group: WorkerGroup) -> None:
        """Read a WorkerGroup anew: a write was refused because it changed, or is gone."""
        try:
            self._mirror.put(WORKER_GROUP, await self._kube.get_worker_group(group.name))
        except NotFound:
            self._mirror.drop(WORKER_GROUP, group.name, uid=group.uid)
        except KubeError as error:
            log.debug("worker_group_not_read", worker_group=group.name, error=str(error))


class StoreWentAway(KubeError):
    """The store stopped answering in the middle of a look."""


def _hindrance(error: KubeError) -> Finding:
    """Say in a condition why the replicas cannot be changed: a person must help."""
    reason = FORBIDDEN if isinstance(error, Forbidden) else REFUSED
    return trouble(reason, f"The replicas cannot be changed. {error}.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _measure(name: str, seen: Observation, made: Plan) -> None:
    if seen.target is not None:
        metrics.replicas.labels(name).set(seen.target.wanted)
    if made.desired is not None:
        metrics.desired_replicas.labels(name).set(made.desired)
    if isinstance(seen.work, Work):
        metrics.queue_due.labels(name).set(seen.work.due)
        metrics.queue_running.labels(name).set(seen.work.running)
