from itertools import takewhile
from typing import Any

import pytest

from holdfast.core.limits import INTEGER_MAX
from holdfast.errors import DecodeError
from holdfast.retry import (
    STEP_DEFAULT,
    WORKFLOW_DEFAULT,
    Constant,
    Exponential,
    Linear,
    Never,
    RetryPolicy,
    from_wire,
    is_retryable,
)


def delays(policy: RetryPolicy, most: int = 7) -> list[float]:
    first = [policy.next_delay(attempt) for attempt in range(1, most + 1)]
    return [d for d in takewhile(lambda d: d is not None, first) if d is not None]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (STEP_DEFAULT, [2, 4, 8, 16, 30, 30, 30]),
        (Exponential(delay=1, factor=3, max_delay=20, max_retries=3), [3, 9, 20]),
        (Exponential(max_retries=0), []),
        (Linear(delay=2, max_retries=3), [2, 4, 6]),
        (Constant(delay=1.5, max_retries=2), [1.5, 1.5]),
        (WORKFLOW_DEFAULT, []),
    ],
    ids=repr,
)
def test_delays_follow_the_documented_formula(policy: RetryPolicy, expected: list[float]) -> None:
    assert delays(policy) == expected


def test_attempt_zero_costs_no_delay() -> None:
    assert [p.next_delay(0) for p in (Exponential(), Constant(), Never(), Linear())] == [0] * 4


def test_a_huge_attempt_stays_at_the_largest_delay() -> None:
    assert Exponential().next_delay(100_000) == 30


def test_jitter_only_shortens() -> None:
    policy = Exponential(jitter=0.5)

    assert all(1.0 <= (policy.next_delay(1) or 0) <= 2.0 for _ in range(100))


@pytest.mark.parametrize(
    "policy",
    [
        Exponential(),
        Exponential(delay=0.25, factor=1.5, max_delay=2, max_retries=4),
        Linear(delay=0.5, max_retries=1),
        Constant(),
        Never(),
    ],
    ids=repr,
)
def test_a_policy_survives_the_wire(policy: Any) -> None:
    assert from_wire(policy.to_wire()) == policy


def test_the_wire_form_is_the_official_sdks() -> None:
    assert Exponential().to_wire() == {
        "type": "exponential",
        "data": {"delay": 1000, "factor": 2.0, "maxDelay": 30_000, "maxRetries": INTEGER_MAX},
    }
    assert Never().to_wire() == {"type": "never", "data": {}}


@pytest.mark.parametrize(
    "wire",
    [
        None,
        "exponential",
        {"type": "sometimes", "data": {}},
        {"type": "constant"},
        {"type": "constant", "data": {"delay": "1"}},
        {"type": "constant", "data": {"delay": True}},
        {"type": "linear", "data": {"delay": -1}},
    ],
    ids=repr,
)
def test_a_malformed_policy_is_refused(wire: object) -> None:
    with pytest.raises(DecodeError):
        from_wire(wire)


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        (Exponential, {"delay": -1}),
        (Exponential, {"jitter": 2}),
        (Linear, {"max_retries": -1}),
        (Constant, {"delay": -0.1}),
    ],
    ids=str,
)
def test_impossible_numbers_are_refused(policy: Any, fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        policy(**fields)


def test_errors_can_forbid_their_retry() -> None:
    class Final(Exception):
        retryable = False

    assert not is_retryable(Final(), ())
    assert not is_retryable(KeyError(), (LookupError,))
    assert is_retryable(KeyError(), (ValueError,))
