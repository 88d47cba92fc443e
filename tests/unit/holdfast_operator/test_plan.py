"""The plan as a pure function: examples first, then what must hold for every history."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast_operator.model import Autoscaling, Mode, ScaleTarget, WorkerGroupSpec
from holdfast_operator.plan import (
    BLIND,
    LOOK_AGAIN_MS,
    STORE_GRACE_MS,
    Limit,
    Memory,
    Observation,
    Plan,
    Pod,
    Pods,
    Reason,
    StoreSilent,
    Target,
    Work,
    plan,
)


def rules(
    *,
    mode: Mode = "Operator",
    least: int = 0,
    most: int = 10,
    per_replica: int = 10,
    window_s: int = 60,
    idle_s: int = 120,
) -> Autoscaling:
    return Autoscaling(
        mode=mode,
        min=least,
        max=most,
        target_per_replica=per_replica,
        stabilization_seconds=window_s,
        idle_seconds=idle_s,
    )


def target(wanted: int) -> Target:
    return Target(name="w", wanted=wanted, existing=wanted, ready=wanted, selector="app=w")


def seen(
    work: Work | StoreSilent,
    *,
    at: int = 0,
    replicas: int = 1,
    autoscaling: Autoscaling | None = None,
    memory: Memory = BLIND,
    pods: Pods | None = None,
    ordered: int = 1,
) -> Observation:
    return Observation(
        spec=WorkerGroupSpec(
            groups=("g",),
            scale_target_ref=ScaleTarget(name="w"),
            autoscaling=autoscaling or rules(),
            replicas=ordered,
        ),
        target=target(replicas),
        work=work,
        memory=memory,
        pods=pods,
        now_ms=at * 1_000,
    )


def work(due: int = 0, running: int = 0) -> Work:
    return Work(due=due, running=running)


def idle(count: int) -> Pods:
    return Pods(pods=tuple(Pod(name=f"w-{n}", held=0) for n in range(count)), unaccounted=0)


def decided(observation: Observation, pods: Pods | None = None) -> Plan:
    """Plan, with a look at the pods if the plan asks for it."""
    made = plan(observation)
    if not made.wants_pods:
        return made
    assert observation.target is not None
    return plan(replace(observation, pods=pods or idle(observation.target.wanted)))


SILENT = StoreSilent(since_ms=0, reason="it is away")


# Up


@pytest.mark.parametrize(
    ("due", "running", "wanted"),
    [(0, 0, 0), (1, 0, 1), (0, 1, 1), (10, 0, 1), (6, 5, 2), (91, 9, 10), (1_000, 0, 10)],
)
def test_one_replica_is_wanted_for_each_target_of_tasks(
    due: int, running: int, wanted: int
) -> None:
    made = plan(seen(work(due, running), replicas=0))

    assert made.desired == wanted
    assert (made.scale.replicas if made.scale else 0) == wanted


def test_scaling_up_does_not_wait() -> None:
    made = plan(seen(work(35), replicas=1))

    assert made.scale is not None
    assert made.scale.replicas == 4
    assert made.limit is Limit.NONE


def test_max_limits_and_says_so() -> None:
    made = plan(seen(work(1_000), replicas=10))

    assert (made.scale, made.limit, made.unlimited) == (None, Limit.MAX, 100)


def test_min_is_kept_without_work() -> None:
    made = plan(seen(work(), replicas=0, autoscaling=rules(least=2)))

    assert made.scale is not None
    assert made.scale.replicas == 2


# Down


def test_scaling_down_goes_to_the_most_that_was_wanted_in_the_window() -> None:
    first = plan(seen(work(30), at=0, replicas=3))
    second = plan(seen(work(15), at=40, replicas=3, memory=first.memory))
    at_last = decided(seen(work(5), at=61, replicas=3, memory=second.memory))

    assert (second.scale, second.limit) == (None, Limit.STABILIZING)
    assert at_last.scale is not None
    assert at_last.scale.replicas == 2


def test_after_a_start_nothing_goes_for_one_window() -> None:
    first = plan(seen(work(1), at=0, replicas=5))
    still = plan(seen(work(1), at=59, replicas=5, memory=first.memory))
    later = decided(seen(work(1), at=60, replicas=5, memory=still.memory))

    assert first.scale is None
    assert (still.scale, still.limit) == (None, Limit.STABILIZING)
    assert later.scale is not None
    assert later.scale.replicas == 1


def test_the_last_replica_waits_until_nothing_was_done_for_a_while() -> None:
    worked = plan(seen(work(running=1), at=0, replicas=1))
    waiting = decided(seen(work(), at=119, replicas=1, memory=worked.memory))
    done = decided(seen(work(), at=120, replicas=1, memory=waiting.memory))

    assert (waiting.scale, waiting.limit) == (None, Limit.AWAITING_IDLE)
    assert done.scale is not None
    assert done.scale.replicas == 0


def test_all_but_the_last_replica_go_before_the_group_was_idle_for_long() -> None:
    worked = plan(seen(work(30), at=0, replicas=3))
    made = decided(seen(work(), at=61, replicas=3, memory=worked.memory))

    assert made.scale is not None
    assert made.scale.replicas == 1


def test_idle_pods_are_marked_and_pods_that_hold_tasks_are_not() -> None:
    pods = Pods(
        pods=(
            Pod(name="busy", held=2),
            Pod(name="idle", held=0),
            Pod(name="spared", held=1, marked=True),
            Pod(name="never-joined", held=None),
        ),
        unaccounted=0,
    )

    made = decided(seen(work(running=3), replicas=4, autoscaling=rules(window_s=0)), pods)

    assert made.scale is not None
    assert made.scale.replicas == 2
    assert [pod.name for pod in made.scale.mark] == ["never-joined", "idle"]
    assert [pod.name for pod in made.scale.unmark] == ["spared"]
    assert made.limit is Limit.BUSY_PODS


def test_who_cannot_go_is_not_looked_at_again_at_once() -> None:
    busy = Pods(pods=tuple(Pod(name=f"w-{n}", held=1) for n in range(3)), unaccounted=0)
    without_window = rules(window_s=0)
    first = decided(seen(work(running=3), replicas=3, autoscaling=without_window), busy)
    soon = seen(work(running=3), at=1, replicas=3, autoscaling=without_window, memory=first.memory)
    later = replace(soon, now_ms=LOOK_AGAIN_MS)

    assert (first.scale, first.limit) == (None, Limit.BUSY_PODS)
    assert (plan(soon).wants_pods, plan(soon).limit) == (False, Limit.BUSY_PODS)
    assert plan(later).wants_pods


def test_a_running_task_that_nobody_is_known_to_hold_keeps_every_pod() -> None:
    pods = replace(idle(3), unaccounted=1)

    made = decided(seen(work(running=1), replicas=3, autoscaling=rules(window_s=0)), pods)

    assert (made.scale, made.limit, made.desired) == (None, Limit.UNKNOWN_HOLDERS, 3)


def test_max_is_obeyed_at_once_even_by_busy_pods() -> None:
    """A database that bears one writer must not get two because both are busy."""
    pods = Pods(pods=(Pod(name="a", held=2), Pod(name="b", held=1)), unaccounted=5)

    made = decided(seen(work(running=3), replicas=2, autoscaling=rules(most=1)), pods)

    assert made.scale is not None
    assert made.scale.replicas == 1
    assert [pod.name for pod in made.scale.mark] == ["b"]


# Who else may decide


def test_while_the_store_is_silent_nothing_changes() -> None:
    made = plan(seen(SILENT, at=3_600, replicas=7))

    assert (made.reason, made.scale, made.desired) == (Reason.STORE_UNREACHABLE, None, 7)
    assert not made.quiet


def test_a_moment_of_silence_is_not_told_and_not_remembered() -> None:
    before = plan(seen(work(30), replicas=3)).memory
    moment = seen(SILENT, replicas=3, memory=before)

    made = plan(replace(moment, now_ms=STORE_GRACE_MS - 1))

    assert made.quiet
    assert made.memory == before


def test_after_a_silence_nothing_goes_for_one_window() -> None:
    before = plan(seen(work(), at=0, replicas=4))
    silent = plan(seen(SILENT, at=300, replicas=4, memory=before.memory))
    back = plan(seen(work(), at=301, replicas=4, memory=silent.memory))

    assert (back.scale, back.limit) == (None, Limit.STABILIZING)


@pytest.mark.parametrize(("now", "ordered"), [(1, 5), (0, 1)])
def test_manual_replicas_are_an_order(now: int, ordered: int) -> None:
    made = plan(seen(SILENT, replicas=now, ordered=ordered, autoscaling=rules(mode="Manual")))

    assert made.reason is Reason.MANUAL
    assert made.scale is not None
    assert made.scale.replicas == ordered


@pytest.mark.parametrize(
    ("ordered", "obeyed", "limit"), [(0, 2, Limit.MIN), (3, 3, Limit.NONE), (9, 4, Limit.MAX)]
)
def test_an_order_is_obeyed_within_min_and_max(ordered: int, obeyed: int, limit: Limit) -> None:
    bounds = rules(mode="Manual", least=2, most=4)

    made = plan(seen(SILENT, replicas=1, ordered=ordered, autoscaling=bounds))

    assert (made.desired, made.limit) == (obeyed, limit)
    assert made.scale is not None
    assert made.scale.replicas == obeyed


def test_an_order_for_fewer_ends_the_idle_pods() -> None:
    pods = Pods(pods=(Pod(name="a", held=0), Pod(name="b", held=3)), unaccounted=9)
    order = seen(work(running=12), replicas=2, ordered=1, autoscaling=rules(mode="Manual"))

    made = decided(order, pods)

    assert made.scale is not None
    assert [pod.name for pod in made.scale.mark] == ["a"]


def test_an_external_autoscaler_owns_the_replicas() -> None:
    made = plan(seen(work(1_000), replicas=1, autoscaling=rules(mode="External")))

    assert (made.reason, made.scale, made.desired) == (Reason.EXTERNAL, None, 1)


def test_the_younger_of_two_does_nothing() -> None:
    made = plan(replace(seen(work(1_000), replicas=1), rival="older"))

    assert (made.reason, made.scale) == (Reason.CONFLICT, None)


def test_without_a_deployment_there_is_nothing_to_scale() -> None:
    made = plan(replace(seen(work(1_000)), target=None))

    assert (made.reason, made.scale) == (Reason.TARGET_NOT_FOUND, None)


# Whatever happens

anything = st.builds(work, due=st.integers(0, 60), running=st.integers(0, 60))
limits = st.tuples(st.integers(0, 6), st.integers(1, 6)).map(
    lambda pair: (min(pair[0], pair[1]), pair[1])
)


@st.composite
def autoscalings(draw: st.DrawFn) -> Autoscaling:
    least, most = draw(limits)
    return rules(
        least=least,
        most=most,
        per_replica=draw(st.integers(1, 20)),
        window_s=draw(st.sampled_from([0, 1, 5, 30])),
        idle_s=draw(st.sampled_from([0, 1, 5, 60])),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Work | StoreSilent, tuple[int, ...]]]:
    """Instants in ms, what was reported then, and how much each pod held."""
    at, steps = 0, []
    for _ in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([1, 200, 1_000, 4_000, 20_000]))
        since = draw(st.sampled_from([at - 1, at - STORE_GRACE_MS]))
        silence = st.just(replace(SILENT, since_ms=since))
        report = draw(st.one_of(anything, anything, silence))
        held = draw(st.lists(st.integers(0, 2), min_size=12, max_size=12))
        steps.append((at, report, tuple(held)))
    return steps


@settings(max_examples=60, deadline=None)
@given(
    autoscaling=autoscalings(),
    history=histories(),
    replicas=st.integers(0, 8),
    hidden=st.booleans(),
)
def test_whatever_happens_the_promises_of_a_plan_hold(
    autoscaling: Autoscaling,
    history: list[tuple[int, Work | StoreSilent, tuple[int, ...]]],
    replicas: int,
    hidden: bool,  # noqa: FBT001 - hypothesis passes it by name
) -> None:
    memory = BLIND
    wishes: list[tuple[int, int]] = []  # what was wanted when; emptied by silence
    worked_at: int | None = None
    for at, report, held in history:
        pods = Pods(
            pods=tuple(Pod(name=f"w-{n}", held=held[n]) for n in range(replicas)),
            unaccounted=1 if hidden and isinstance(report, Work) and report.running else 0,
        )
        observation = replace(
            seen(report, replicas=replicas, autoscaling=autoscaling, memory=memory), now_ms=at
        )
        made = decided(observation, pods)
        after = replicas if made.scale is None else made.scale.replicas
        if isinstance(report, StoreSilent):
            assert after == replicas, "nothing changes while nothing is known"
            memory = made.memory
            if not made.quiet:
                wishes, worked_at = [], None
            continue
        wish = -(-report.tasks // autoscaling.target_per_replica)
        wish = max(autoscaling.min, min(autoscaling.max, wish))
        wishes = wishes or [(at, replicas)]
        wishes.append((at, wish))
        if report.tasks or worked_at is None:
            worked_at = at
        assert after >= wish, "what is wanted now is there at once"
        assert after <= max(replicas, wish), "never more than wanted or there"
        assert after <= autoscaling.max
        assert after >= autoscaling.min
        if after < replicas <= autoscaling.max:
            assert after >= pods.busy, "who holds a task stays"
            assert not pods.unaccounted
            window_ms = autoscaling.stabilization_seconds * 1_000
            kept = [w for t, w in wishes if t > at - window_ms]
            assert after >= min(max(kept, default=0), autoscaling.max), "not before the window"
        if after == 0 < replicas:
            assert report.tasks == 0
            assert at - worked_at >= autoscaling.idle_seconds * 1_000
        if made.scale is not None and after < replicas:
            assert len(made.scale.mark) == replicas - after or after == 0
        again = replace(observation, target=target(after), memory=made.memory, pods=None)
        assert plan(again).scale is None or after == replicas, "what was done is not done twice"
        instants = [t for t, _ in made.memory.recent]
        desires = [d for _, d in made.memory.recent]
        assert instants == sorted(instants)
        assert desires == sorted(desires, reverse=True)
        memory, replicas = made.memory, after
