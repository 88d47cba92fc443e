"""The whole operator between a real promise store and an API server of our own."""

import contextlib
from collections.abc import AsyncIterator

from holdfast.core.records import PromiseState
from holdfast.core.requests import PromiseSettle, TaskCreate
from tests.integration.operator.conftest import Operated
from tests.integration.operator.fake_api import WORKER_GROUPS, FakeApi
from tests.integration.rpc.support import Served, join, member, targeted, until


async def create(store: Served, *ids: str, group: str = "g") -> None:
    """Make tasks that are due."""
    await store.engine.apply(*[targeted(each, group) for each in ids])


async def settle(store: Served, *ids: str) -> None:
    """End tasks."""
    await store.engine.apply(*[PromiseSettle(id=e, state=PromiseState.RESOLVED) for e in ids])


@contextlib.asynccontextmanager
async def worker_in(
    store: Served, pod: str, *, tasks: int, group: str = "g"
) -> AsyncIterator[list[str]]:
    """Run a member called as a pod until it holds so many tasks; tell their ids."""
    who = member(pod, credits=tasks, groups=(group,))
    async with join(store.url, who) as (_remote, mailbox):
        yield [(await until(mailbox.tasks.get())).task.id for _ in range(tasks)]


async def test_the_first_promise_brings_a_replica(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()

    async with operated():
        await api.wait_for(lambda: api.reason() == "Idle")
        await create(store, "a")
        await api.wait_for(lambda: api.replicas() == 1)
        await api.wait_for(lambda: api.reason() == "Scaled")

    status = api.objects[WORKER_GROUPS]["w"]["status"]
    assert (status["due"], status["running"], status["desiredReplicas"]) == (1, 0, 1)
    assert status["observedGeneration"] == 1
    assert status["selector"] == "app=w"
    assert "lastScaleTime" in status
    (event,) = api.events
    assert (event["type"], event["reason"]) == ("Normal", "ScaledUp")
    assert event["message"] == (
        "Scaled Deployment w from 0 to 1: 1 due and 0 running tasks want 1 replica at 2 a replica."
    )


async def test_replicas_follow_the_work_up_and_down_and_spare_who_is_busy(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """Four pods, one of them busy: the three idle ones go, whichever the controller would take."""
    await api.deployment(replicas=4)
    await api.worker_group()
    busy = api.pods()[0]
    await create(store, *"abcdefg")

    async with operated(), worker_in(store, busy, tasks=1) as held:
        await api.wait_for(lambda: api.condition("Ready").get("reason") == "Scaled")
        assert api.replicas() == 4
        await settle(store, *(set("abcdefg") - set(held)))
        await api.wait_for(lambda: api.replicas() == 1)

    assert api.pods() == [busy]


async def test_a_pod_that_holds_a_task_is_kept_though_fewer_would_do(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=3)
    await api.worker_group(targetPerReplica=10)
    first, second, _idle = api.pods()
    await create(store, "a", "b")

    async with worker_in(store, first, tasks=1), worker_in(store, second, tasks=1), operated():
        await api.wait_for(lambda: api.reason("Limited") == "BusyPods")

    assert sorted(api.pods()) == sorted([first, second])
    assert "2 pods hold running tasks" in api.condition("Limited")["message"]


async def test_no_replica_goes_while_a_running_task_has_no_known_holder(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """Acquired without a stream, or by a member of another replica: it may be in any pod."""
    await api.deployment(replicas=3)
    await api.worker_group(targetPerReplica=10)
    acquired = TaskCreate(pid="somewhere", ttl_ms=60_000, action=targeted("a"))
    await store.engine.apply(acquired)

    async with operated():
        await api.wait_for(lambda: api.reason("Limited") == "UnknownHolders")
        assert api.replicas() == 3
        await settle(store, "a")
        await api.wait_for(lambda: api.replicas() == 0)


async def test_without_work_for_a_while_nothing_is_left(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=2)
    await api.worker_group(idleSeconds=1)

    async with operated():
        await api.wait_for(lambda: api.reason("Limited") == "AwaitingIdle")
        assert api.replicas() == 1
        await api.wait_for(lambda: api.replicas() == 0)
        await api.wait_for(lambda: api.reason() == "Idle")


async def test_a_group_that_was_known_once_is_idle_and_not_unknown(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """Also after a restart: a store forgets who worked, the status does not."""
    await api.deployment()
    await api.worker_group(groups=["g", "typo"])
    await create(store, "a")

    async with operated():
        await api.wait_for(lambda: api.replicas() == 1)
        await settle(store, "a")
        await api.wait_for(lambda: api.replicas() == 0)
    async with operated():
        await api.wait_for(lambda: ": group typo waits for" in api.condition("Ready")["message"])
        await api.worker_group(groups=["g"])
        await api.wait_for(lambda: "there is no work" in api.condition("Ready")["message"])


async def test_a_restart_does_not_scale_down(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """What was wanted before is not known any more, so the present count stands for it."""
    await api.deployment(replicas=4)
    await api.worker_group(stabilizationSeconds=3_600)

    async with operated():
        await api.wait_for(lambda: api.reason("Limited") == "Stabilizing")
    async with operated():
        await create(store, *"abcdefghij")
        await api.wait_for(lambda: api.replicas() == 5)
        await settle(store, *"abcdefghij")
        await api.wait_for(lambda: api.objects[WORKER_GROUPS]["w"]["status"]["due"] == 0)

    assert api.replicas() == 5


async def test_an_external_autoscaler_is_left_alone(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=1)
    await api.worker_group(mode="External")

    async with operated():
        await create(store, *"abcdefgh")
        await api.wait_for(
            lambda: api.objects[WORKER_GROUPS]["w"].get("status", {}).get("due") == 8
        )

    assert api.reason("ScalingActive") == "External"
    assert api.condition("ScalingActive")["status"] == "False"
    assert not api.asked("PATCH", "/scale")


async def test_manual_replicas_are_copied_even_without_a_store(
    api: FakeApi, operated: Operated
) -> None:
    await api.deployment(replicas=1)
    await api.worker_group(mode="Manual", replicas=3)

    async with operated(store_url="grpc://127.0.0.1:1"):
        await api.wait_for(lambda: api.replicas() == 3)
        await api.worker_group(mode="Manual", replicas=0)
        await api.wait_for(lambda: api.replicas() == 0)
        await api.wait_for(lambda: api.reason() == "Idle")

    assert api.condition("Ready")["observedGeneration"] == 2


async def test_a_lowered_max_ends_the_idle_pods_first(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=3)
    await api.worker_group(stabilizationSeconds=3_600)
    busy = api.pods()[1]
    await create(store, "a")

    async with worker_in(store, busy, tasks=1), operated():
        await api.wait_for(lambda: api.reason("Limited") == "Stabilizing")
        await api.worker_group(stabilizationSeconds=3_600, max=1)
        await api.wait_for(lambda: api.replicas() == 1)

    assert api.pods() == [busy]
