"""What people read: conditions, events, and when a status is worth a write."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as with_

from holdfast_operator.findings import Finding, decision, findings_of, findings_of_bad_spec, trouble
from holdfast_operator.model import Mode, WorkerGroupStatus
from holdfast_operator.plan import (
    Limit,
    Observation,
    Plan,
    Pod,
    Pods,
    StoreSilent,
    Work,
    plan,
)
from holdfast_operator.status import (
    condition_of,
    differs_in_substance,
    next_status,
    notice_of_scaling,
    notices_between,
)
from tests.unit.holdfast_operator.test_plan import SILENT, decided, rules, seen, target, work

LONG_AGO = 3_600


def said(observation: Observation, made: Plan | None = None) -> dict[str, Finding]:
    findings = findings_of(observation, made or plan(observation), trouble=None)
    return {each.type: each for each in findings}


def settled(observation: Observation, made: Plan | None = None, **fields: Any) -> WorkerGroupStatus:
    made = made or plan(observation)
    return next_status(
        fields.pop("before", WorkerGroupStatus()),
        findings_of(observation, made, trouble=fields.pop("trouble", None)),
        seen=observation,
        plan=made,
        generation=1,
        now=fields.pop("now", "2026-01-01T00:00:00Z"),
    )


def test_a_decision_is_a_sentence_with_its_numbers() -> None:
    observation = seen(work(12, 3), replicas=2)

    assert decision(observation, plan(observation)) == (
        "12 due and 3 running tasks want 2 replicas at 10 a replica."
    )


@pytest.mark.parametrize(
    ("observation", "end"),
    [
        (seen(work(200), replicas=10), ", but max is 10."),
        (seen(work(), replicas=3), "; the most wanted in the last 60 s is 3."),
        (seen(work(), replicas=2, autoscaling=rules(least=2)), ", and min is 2."),
        (
            seen(work(), replicas=1, autoscaling=rules(window_s=0)),
            "; the last one goes after 120 s without work.",
        ),
    ],
)
def test_a_decision_says_what_it_is_limited_by(observation: Observation, end: str) -> None:
    assert decision(observation, plan(observation)).endswith(end)


def test_pods_that_cannot_go_are_part_of_the_decision() -> None:
    observation = seen(work(running=2), replicas=3, autoscaling=rules(window_s=0))
    pods = Pods(pods=tuple(Pod(name=n, held=1) for n in "ab"), unaccounted=0)

    made = decided(observation, pods)

    assert decision(observation, made).endswith(", but 2 pods hold running tasks.")
    assert "each goes when it holds none" in said(observation, made)["Limited"].message


@pytest.mark.parametrize("limit", list(Limit))
def test_every_limit_has_its_sentences(limit: Limit) -> None:
    observation = seen(work(3), replicas=3)
    made = replace(plan(observation), limit=limit)

    found = said(observation, made)

    assert found["Limited"].reason == limit.value
    assert found["Limited"].status == ("False" if limit is Limit.NONE else "True")
    assert all(each.message.endswith(".") for each in found.values())


def test_ready_means_that_the_wanted_replicas_are_there() -> None:
    there = seen(work(5), replicas=1)
    coming = replace(there, target=replace(target(1), ready=0))

    assert (said(there)["Ready"].status, said(there)["Ready"].reason) == ("True", "Scaled")
    assert (said(coming)["Ready"].status, said(coming)["Ready"].reason) == ("False", "Scaling")


def test_an_unknown_group_is_no_error_and_says_what_to_compare() -> None:
    nobody = Work(due=0, running=0, unknown=("wrokers",))

    empty = said(seen(nobody, replicas=0))["Ready"]
    running = said(seen(nobody, replicas=2, autoscaling=rules(least=2)))["Ready"]

    assert (empty.status, empty.reason) == ("True", "Idle")
    assert "group wrokers waits for the first task. If there should be" in empty.message
    assert (running.status, running.reason) == ("True", "GroupUnknown")
    assert "No worker has joined group wrokers, although 2 replicas are ready" in running.message
    assert "Compare spec.groups" in running.message


@pytest.mark.parametrize("mode", ["Manual", "External"])
def test_zero_replicas_by_order_do_not_claim_that_there_is_no_work(mode: Mode) -> None:
    observation = seen(work(5), replicas=0, ordered=0, autoscaling=rules(mode=mode))

    assert said(observation)["Ready"].message == "No replica is wanted."


def test_a_store_that_is_away_makes_nothing_ready_and_keeps_the_replicas() -> None:
    found = said(seen(SILENT, at=LONG_AGO, replicas=3))

    assert {kind: each.status for kind, each in found.items()} == {
        "Ready": "False",
        "ScalingActive": "False",
        "Limited": "False",
        "StoreReachable": "False",
    }
    assert "keeps its 3 replicas" in found["ScalingActive"].message
    assert "it is away" in found["Ready"].message


def test_manual_replicas_are_ready_without_the_store() -> None:
    found = said(seen(SILENT, at=LONG_AGO, autoscaling=rules(mode="Manual")))

    assert found["Ready"].status == "True"
    assert found["ScalingActive"].message == "Deployment w follows spec.replicas, 1."


def test_a_moment_of_silence_leaves_what_was_said_of_the_store() -> None:
    manual = rules(mode="Manual")
    before = settled(seen(work(), autoscaling=manual))
    moment = seen(StoreSilent(since_ms=0, reason="?"), autoscaling=manual)

    after = settled(moment, before=before)

    assert condition_of(after, "StoreReachable") == condition_of(before, "StoreReachable")


def test_a_bad_spec_says_that_nothing_is_scaled() -> None:
    ready, active = findings_of_bad_spec("The spec cannot be used: x.")

    assert (ready.reason, ready.message) == ("InvalidSpec", "The spec cannot be used: x.")
    assert active.status == "False"


def test_a_transition_has_an_instant_and_a_mere_reason_has_none() -> None:
    first = settled(seen(work(5), replicas=1), now="2026-01-01T00:00:00Z")
    same = settled(seen(work(200), replicas=10), before=first, now="2026-01-01T00:01:00Z")
    changed = settled(
        seen(SILENT, at=LONG_AGO, replicas=1), before=same, now="2026-01-01T00:02:00Z"
    )

    instants = [condition_of(s, "Ready").last_transition_time for s in (first, same, changed)]  # type: ignore[union-attr]
    assert instants == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z"]


def test_numbers_that_nobody_knows_keep_their_last_value() -> None:
    before = settled(seen(Work(due=4, running=2, oldest_due_age_ms=7_900), replicas=1))

    after = settled(seen(SILENT, at=LONG_AGO, replicas=1), before=before)

    assert (after.due, after.running, after.oldest_due_age_seconds) == (4, 2, 7)


def test_numbers_and_sentences_alone_can_wait() -> None:
    before = settled(seen(work(4), replicas=1))
    more = settled(seen(work(5), replicas=1), before=before)
    grown = settled(seen(work(15), replicas=2), before=before)

    assert before != more
    assert not differs_in_substance(before, more)
    assert differs_in_substance(before, grown)


def test_a_limit_that_each_wave_of_a_queue_brings_and_takes_can_wait() -> None:
    crest = settled(seen(work(25), replicas=3))
    trough = settled(seen(work(15), replicas=3), before=crest)

    assert condition_of(trough, "Limited") != condition_of(crest, "Limited")
    assert not differs_in_substance(crest, trough)
    assert differs_in_substance(crest, settled(seen(work(200), replicas=10), before=crest))


def test_trouble_is_an_event_once_and_again_only_after_it_was_over() -> None:
    fine = settled(seen(work(4), replicas=1))
    away = settled(seen(SILENT, at=LONG_AGO, replicas=1), before=fine)
    still = settled(seen(SILENT, at=LONG_AGO + 1, replicas=1), before=away)
    back = settled(seen(work(4), replicas=1), before=still)

    told = [
        [(n.type, n.reason) for n in notices_between(a, b)]
        for a, b in ((fine, away), (away, still), (still, back))
    ]

    assert told == [[("Warning", "StoreUnreachable")], [], [("Normal", "StoreReachable")]]


def test_a_refused_permission_is_an_event() -> None:
    fine = settled(seen(work(4), replicas=1))
    refused = settled(seen(work(4)), before=fine, trouble=trouble("Forbidden", "No."))

    (notice,) = notices_between(fine, refused)

    assert (notice.reason, notice.action) == ("Forbidden", "Scale")


@pytest.mark.parametrize(("replicas", "reason"), [(1, "ScaledUp"), (5, "ScaledDown")])
def test_scaling_is_an_event_with_its_reason(replicas: int, reason: str) -> None:
    observation = seen(work(25), replicas=replicas, autoscaling=rules(window_s=0))
    made = decided(observation)

    notice = notice_of_scaling(observation, made, "because.")

    assert notice.reason == reason
    assert notice.message == f"Scaled Deployment w from {replicas} to 3: because."


def test_an_old_status_is_a_fresh_one_if_it_holds_nothing() -> None:
    status = next_status(
        with_(WorkerGroupStatus(), due=3),
        [],
        seen=None,
        plan=None,
        generation=2,
        now="now",
        scaled_at="then",
    )

    assert (status.due, status.observed_generation, status.last_scale_time) == (3, 2, "then")
