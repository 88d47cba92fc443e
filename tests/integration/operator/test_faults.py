"""What goes wrong around the operator, and what it says and does then."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast_chassis.listen import Address
from holdfast_operator.handlers import sign_in
from holdfast_operator.kube import Kube
from holdfast_operator.plan import Scale, Target
from tests.integration.operator.conftest import Operated, kubeconfig
from tests.integration.operator.fake_api import NAMESPACE, WORKER_GROUPS, FakeApi
from tests.integration.operator.test_scaling import create
from tests.integration.rpc.support import Served, serve


async def eventually(condition: Callable[[], bool], *, seconds: float = 15.0) -> None:
    """Wait for something that no request tells of."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells when it becomes true
            await asyncio.sleep(0.02)


# The store


async def test_while_the_store_is_away_the_replicas_stay_and_the_status_says_so(
    api: FakeApi, operated: Operated
) -> None:
    await api.deployment(replicas=3)
    await api.worker_group(max=3)

    async with serve() as first:
        listen = Address.parse(first.target)
        await create(first, *"abcdefgh")
        async with operated(store_url=first.url):
            await api.wait_for(lambda: api.reason() == "Scaled")
            await first.server.stop(grace_s=0)
            await api.wait_for(lambda: api.reason() == "StoreUnreachable")
            assert api.replicas() == 3
            assert api.condition("StoreReachable")["status"] == "False"
            assert "keeps its 3 replicas" in api.condition("ScalingActive")["message"]
            async with serve(listen=listen):  # another store, without any task
                await api.wait_for(lambda: api.replicas() == 0)

    reasons = [event["reason"] for event in api.events]
    assert reasons.count("StoreUnreachable") == 1
    assert reasons.count("StoreReachable") == 1


async def test_an_order_is_obeyed_also_while_the_store_is_away(
    api: FakeApi, operated: Operated
) -> None:
    await api.deployment(replicas=3)
    await api.worker_group(mode="Manual", replicas=3)

    async with operated(store_url="grpc://127.0.0.1:1"):
        await api.wait_for(lambda: api.reason() == "Scaled")
        await api.worker_group(mode="Manual", replicas=1)
        await api.wait_for(lambda: api.replicas() == 1)
        await api.wait_for(lambda: api.reason("StoreReachable") == "Unreachable")


# Bad objects


async def test_a_missing_deployment_is_told_once_and_scaled_when_it_comes(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.worker_group()
    await create(store, "a")

    async with operated():
        await api.wait_for(lambda: api.reason() == "TargetNotFound")
        await api.wait_for(lambda: len(api.events) == 1)
        await api.deployment()
        await api.wait_for(lambda: api.replicas() == 1)

    assert "Create it, or correct spec.scaleTargetRef.name" in api.events[0]["message"]
    assert [e["reason"] for e in api.events] == ["TargetNotFound", "ScaledUp"]
    assert api.events[0]["type"] == "Warning"


async def test_what_is_not_known_any_more_is_taken_out_of_the_status_once(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=1)
    await api.worker_group(min=1)

    async with operated() as operator:
        await api.wait_for(lambda: api.reason() == "GroupUnknown")
        assert api.objects[WORKER_GROUPS]["w"]["status"]["desiredReplicas"] == 1
        await api.delete("deployments", "w")
        await api.wait_for(lambda: api.reason() == "TargetNotFound")
        now_ms = operator.control._clock_ms()
        before = api.asked("PATCH", "/status")
        for hours in range(1, 20):
            operator.control._clock_ms = lambda hours=hours: now_ms + hours * 3_600_000  # type: ignore[misc]
            await operator.control.round()
        after = api.asked("PATCH", "/status")

    assert "desiredReplicas" not in api.objects[WORKER_GROUPS]["w"]["status"]
    assert after == before


async def test_of_two_worker_groups_for_one_target_the_older_wins(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group("older")
    await api.worker_group("younger", max=1)
    await create(store, *"abcdef")

    async with operated():
        await api.wait_for(lambda: api.replicas() == 3)
        await api.wait_for(lambda: api.reason(name="younger") == "Conflict")
        assert "WorkerGroup older is older" in api.condition("Ready", "younger")["message"]
        await api.delete(WORKER_GROUPS, "older")
        await api.wait_for(lambda: api.replicas() == 1)
        await api.wait_for(lambda: api.reason(name="younger") == "Scaled")


async def test_a_spec_that_no_schema_has_checked_is_answered_in_the_status(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group(min=7, max=2)
    await create(store, "a")

    async with operated():
        await api.wait_for(lambda: api.reason() == "InvalidSpec")
        assert api.replicas() == 0
        await api.worker_group(min=1, max=2)
        await api.wait_for(lambda: api.replicas() == 1)

    assert "autoscaling.min must not be greater than autoscaling.max" in api.events[0]["message"]


# Writes that fail


async def test_a_status_that_somebody_changed_meanwhile_is_written_again(
    api: FakeApi, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()
    api.fail("PATCH", "/status", 409, times=3)

    async with operated():
        await api.wait_for(lambda: api.reason() == "Idle")

    assert api.asked("GET", "workergroups/w") == 3


async def test_a_scale_that_meets_another_is_planned_anew(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()
    api.fail("PATCH", "/scale", 409, times=2)
    await create(store, "a")

    async with operated():
        await api.wait_for(lambda: api.replicas() == 1)
        await api.wait_for(lambda: api.reason() == "Scaled")

    assert [event["reason"] for event in api.events] == ["ScaledUp"]


async def test_while_somebody_elses_scaling_is_not_heard_of_the_api_server_is_not_pestered(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()

    async with operated() as operator:
        await api.wait_for(lambda: api.reason() == "Idle")
        operator.eyes._seen = _forget
        await api.put("deployments", "w", spec={"replicas": 3, "selector": {}})
        now_ms = operator.control._clock_ms()
        operator.control._clock_ms = lambda: now_ms  # no pause ever ends
        await create(store, "a")
        await api.wait_for(lambda: api.asked("GET", "workergroups/w") == 1)
        for _ in range(20):
            await operator.control.round()

    assert api.asked("GET", "/scale") == 1
    assert api.replicas() == 3


async def test_a_status_that_an_older_schema_cuts_short_is_not_written_for_ever(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """The definition is a chart of its own, and may be upgraded after the operator."""
    api.unknown_status_fields = {"knownGroups"}
    await api.deployment(replicas=1)
    await api.worker_group(min=1, max=1)
    await create(store, "a")

    async with operated() as operator:
        operator.control._status_interval_ms = 3_600_000
        await api.wait_for(lambda: api.reason() == "Scaled")
        await api.wait_for(lambda: api.watches == 2)
        before = api.asked("PATCH", "/status")
        for _ in range(20):
            await operator.control.round()
        after = api.asked("PATCH", "/status")

    assert after == before


async def test_a_look_that_hangs_keeps_no_other_worker_group_waiting(
    api: FakeApi, store: Served, operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        await api.deployment(name)
        await api.worker_group(name, target=name, groups=[name])

    async with operated() as operator:
        await api.wait_for(lambda: api.reason(name="b") == "Idle")
        scale, hanging = operator.control._hands.scale, asyncio.Event()

        async def hang_for_a(target: Target, wanted: Scale) -> bool:
            if target.name == "a":
                hanging.set()
                await _never()
            return await scale(target, wanted)

        monkeypatch.setattr(operator.control._hands, "scale", hang_for_a)
        await create(store, "one", group="a")
        await hanging.wait()
        await create(store, "two", group="b")
        await api.wait_for(lambda: api.replicas("b") == 1)

    assert api.replicas("a") == 0


async def test_an_overloaded_api_server_is_left_alone_for_as_long_as_it_asks(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()
    api.fail("GET", "/scale", 429, Retry_After="1")
    await create(store, "a")
    loop = asyncio.get_running_loop()

    async with operated():
        await api.wait_for(lambda: api.asked("GET", "/scale") == 1)
        refused_at = loop.time()
        await api.wait_for(lambda: api.asked("GET", "/scale") == 2)
        waited_s = loop.time() - refused_at
        await api.wait_for(lambda: api.replicas() == 1)

    assert waited_s > 0.95  # as asked, and not the 0.2 s of a first failure


async def test_a_missing_permission_is_a_condition_that_names_it(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()
    api.fail("PATCH", "/scale", 403, times=1)
    await create(store, "a")

    async with operated():
        await api.wait_for(lambda: api.reason() == "Forbidden")
        await api.wait_for(lambda: api.reason() == "Scaled")

    assert api.events[0]["reason"] == "Forbidden"
    assert "deployments/w/scale" in api.events[0]["message"]


async def test_an_event_that_cannot_be_written_stops_nothing(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()
    api.fail("POST", "/events", 500, times=1_000)
    await create(store, "a")

    async with operated():
        await api.wait_for(lambda: api.reason() == "Scaled")

    assert api.asked("POST", "/events") == 1
    assert not api.events


# Watches


async def test_watches_that_break_are_begun_again(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()

    async with operated():
        await api.wait_for(lambda: api.watches == 2)
        api.break_watches()
        await api.wait_for(lambda: api.watches == 2)
        await api.worker_group()
        await create(store, "a")
        await api.wait_for(lambda: api.replicas() == 1)


async def test_a_watch_whose_version_is_gone_lists_again(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()

    async with operated():
        await api.wait_for(lambda: api.watches == 2)
        api.break_watches()
        await api.worker_group()
        api.forget_history()
        await create(store, "a")
        await api.wait_for(lambda: api.replicas() == 1)


async def test_what_was_deleted_while_no_watch_stood_is_found_by_the_next_listing(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """A watch that begins anew lists what is there and cannot tell what has gone."""
    await api.deployment()
    await api.worker_group()
    await api.worker_group("younger")

    async with operated(resync=1) as operator:
        await api.wait_for(lambda: api.reason(name="younger") == "Conflict")
        operator.eyes.watch = _never  # type: ignore[method-assign]
        operator.mirror.remove = _forget  # type: ignore[method-assign, assignment]
        await api.delete(WORKER_GROUPS, "w")
        await api.wait_for(lambda: api.reason(name="younger") == "Idle")


async def _never() -> None:
    await asyncio.Event().wait()


def _forget(*_: object) -> None:
    """Let an event be lost."""


async def test_an_api_server_that_was_away_finds_everything_going_on(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()

    async with operated():
        await api.wait_for(lambda: api.watches == 2)
        await api.wait_for(lambda: api.reason() == "Idle")
        await api.down()
        await create(store, "a")
        await api.up()
        await api.wait_for(lambda: api.replicas() == 1)
        await api.wait_for(lambda: api.watches == 2)
        await api.worker_group(mode="Manual", replicas=4)
        await api.wait_for(lambda: api.replicas() == 4)


async def test_an_error_in_a_watch_that_kopf_gives_up_on_does_not_end_the_operator(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()

    async with operated():
        await api.wait_for(lambda: api.watches == 2)
        api.fail("GET", "watch=true", 404, times=1)
        api.break_watches()
        await api.wait_for(lambda: api.faults[0].times == 0)
        await api.worker_group()
        await create(store, "a")
        await api.wait_for(lambda: api.replicas() == 1)


async def test_without_the_definition_the_operator_waits_and_says_what_is_missing(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    api.installed = False
    await api.deployment()
    await create(store, "a")

    async with operated() as operator:
        await eventually(lambda: "install the chart" in operator.not_ready()["kubernetes"])
        api.installed = True
        await api.worker_group()
        await api.wait_for(lambda: api.replicas() == 1)
        await eventually(lambda: not operator.not_ready())


# Leaving no trace


async def test_a_steady_cluster_is_not_written_to(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=1)
    await api.worker_group(min=1)

    async with operated() as operator:
        await api.wait_for(lambda: api.reason() == "GroupUnknown")
        await api.wait_for(lambda: api.watches == 2)
        before = len(api.requests)
        for _ in range(20):
            await operator.control.round()
        after = len(api.requests)

    assert after == before
    metadata = api.objects[WORKER_GROUPS]["w"]["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    assert api.asked("PATCH", "") == 1


async def test_numbers_alone_are_written_now_and_then_and_conditions_at_once(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=1)
    await api.worker_group(min=1, max=1)

    async with operated() as operator:
        operator.control._status_interval_ms = 3_600_000
        await api.wait_for(lambda: api.reason() == "GroupUnknown")
        await create(store, "a")
        await api.wait_for(lambda: api.reason() == "Scaled")
        await create(store, "b")
        work = operator.queues
        await eventually(lambda: work._queues is not None and work._queues["g"].due == 2)
        await operator.control.round()
        assert api.objects[WORKER_GROUPS]["w"]["status"]["due"] == 1
        await create(store, "c")  # more than one replica is for: the condition changes
        await api.wait_for(lambda: api.reason("Limited") == "Max")

    assert api.objects[WORKER_GROUPS]["w"]["status"]["due"] == 3


async def test_a_worker_group_that_is_gone_leaves_the_deployment_as_it_is(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment()
    await api.worker_group()
    await create(store, "a")

    async with operated() as operator:
        await api.wait_for(lambda: api.replicas() == 1)
        await api.delete(WORKER_GROUPS, "w")
        await eventually(lambda: not operator.control._cares)

    assert api.replicas() == 1


# Credentials


async def test_credentials_are_read_again_when_they_are_not_accepted_any_more(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of a pod's service account is replaced every hour."""
    path = kubeconfig(tmp_path / "other", api.url, token="old")
    monkeypatch.setenv("KUBECONFIG", str(path))
    async with Kube(sign_in, namespace=NAMESPACE, timeout_s=5) as kube:
        await kube.list_deployments()
        kubeconfig(path, api.url, token="new")
        api.fail("GET", "deployments", 401)
        await kube.list_deployments()

    assert [r.headers["Authorization"] for r in api.requests] == [
        "Bearer old",
        "Bearer old",
        "Bearer new",
    ]
