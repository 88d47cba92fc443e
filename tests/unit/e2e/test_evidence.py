"""The judge of the end-to-end tests finds what is lost or doubled, and knows what is neither."""

from dataclasses import replace

import pytest

from tests.e2e.client import TOTAL
from tests.e2e.evidence import STEPS, Entry, Evidence, judge
from tests.e2e.killing import Kill

ORDER = "o-1"


def entries(pod: str = "pod-a") -> tuple[Entry, ...]:
    return tuple(
        Entry(
            step=step,
            promise_id=f"order/{ORDER}.{n}",
            origin=f"order/{ORDER}",
            attempt=1,
            pod=pod,
            at_ms=1_000 * (n + 1),
        )
        for n, step in enumerate(sorted(STEPS))
    )


def evidence(*more: Entry) -> Evidence:
    return Evidence(entries=entries() + more, charges=((ORDER, TOTAL),), reservations=((ORDER, 2),))


def kill(pod: str = "pod-a", *, what: str = "workers", at_ms: int = 1_500) -> Kill:
    return Kill(what=what, pod=pod, uid="u", how="SIGKILL", from_ms=at_ms, to_ms=at_ms + 50)


AGAIN = replace(entries()[0], pod="pod-b", at_ms=2_500)
"""The first step, entered at 1000 ms in pod-a, is entered once more in another pod."""


def test_an_order_that_went_undisturbed_is_neither_lost_nor_doubled() -> None:
    verdict = judge(evidence(), [ORDER], kills=[])

    assert (verdict.lost, verdict.doubled, verdict.repeated, verdict.bodies) == ({}, {}, (), 5)


def test_a_repetition_without_a_kill_is_doubled() -> None:
    verdict = judge(evidence(AGAIN), [ORDER], kills=[])

    assert list(verdict.doubled) == [ORDER]
    assert verdict.repeated == ()


@pytest.mark.parametrize("explanation", [kill("pod-a"), kill("store-0", what="store")])
def test_a_kill_of_the_pod_or_of_the_store_between_explains_a_repetition(
    explanation: Kill,
) -> None:
    verdict = judge(evidence(AGAIN), [ORDER], kills=[explanation])

    assert verdict.doubled == {}
    assert len(verdict.repeated) == 1


@pytest.mark.parametrize(
    "elsewhere",
    [
        kill("pod-c"),
        kill("gateway-0", what="gateway"),
        kill("pod-a", at_ms=3_000),
        kill("pod-a", at_ms=900),
        kill("pod-b", at_ms=1_500),
    ],
    ids=["another pod", "the gateway", "too late", "too early", "the second pod"],
)
def test_other_kills_explain_nothing(elsewhere: Kill) -> None:
    verdict = judge(evidence(AGAIN), [ORDER], kills=[elsewhere])

    assert list(verdict.doubled) == [ORDER]


def test_one_kill_does_not_explain_two_repetitions() -> None:
    third = replace(AGAIN, pod="pod-c", at_ms=3_500)

    verdict = judge(evidence(AGAIN, third), [ORDER], kills=[kill("pod-a")])

    assert list(verdict.doubled) == [ORDER]
    assert len(verdict.repeated) == 1


def test_missing_rows_and_missing_steps_are_losses() -> None:
    whole = evidence()

    for flawed in (
        replace(whole, charges=()),
        replace(whole, reservations=()),
        replace(whole, charges=((ORDER, TOTAL + 1),)),
        replace(whole, entries=whole.entries[1:]),
    ):
        verdict = judge(flawed, [ORDER], kills=[])
        assert (list(verdict.lost), verdict.doubled) == ([ORDER], {})


def test_two_rows_of_one_order_are_doubled() -> None:
    whole = evidence()

    verdict = judge(replace(whole, charges=whole.charges * 2), [ORDER], kills=[])

    assert list(verdict.doubled) == [ORDER]


def test_orders_of_others_do_not_count() -> None:
    stranger = replace(AGAIN, origin="order/another", promise_id="order/another.0")

    verdict = judge(evidence(stranger, stranger), [ORDER], kills=[])

    assert (verdict.lost, verdict.doubled, verdict.bodies) == ({}, {}, 5)
