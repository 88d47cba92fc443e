from typing import Any

import pytest

from holdfast import DecodeError, DurablePromise, RemoteError
from holdfast_gateway.outcomes import (
    Done,
    Outcome,
    Processing,
    Rejected,
    is_settled_from_outside,
    outcome_of,
)


def promise(state: str, value: Any = None, **tags: str) -> DurablePromise:
    return DurablePromise(
        id="p",
        state=state,
        param=None,
        value=value,
        tags={f"resonate:{name}": text for name, text in tags.items()},
        timeout_at_ms=1_000,
        created_at_ms=0,
        settled_at_ms=None,
    )


@pytest.mark.parametrize(
    ("state", "value", "outcome"),
    [
        ("pending", None, Processing()),
        ("resolved", {"a": 1}, Done({"a": 1})),
        ("resolved", None, Done(None)),
        ("rejected", RemoteError("no"), Rejected("no")),
        ("rejected", ValueError(), Rejected("ValueError")),
        ("rejected_canceled", None, Rejected("canceled")),
        ("rejected_timedout", None, Rejected("timed out")),
    ],
)
def test_each_state_has_an_outcome(state: str, value: Any, outcome: Outcome) -> None:
    assert outcome_of(promise(state, value)) == outcome


def test_a_value_that_cannot_be_read_is_an_error_and_no_result() -> None:
    with pytest.raises(DecodeError):
        outcome_of(promise("resolved", DecodeError("not base64")))


@pytest.mark.parametrize(
    "tags",
    [{"target": "poll://any@workers"}, {"timer": "true"}, {"scope": "local"}],
)
def test_calls_steps_and_timers_are_not_settled_from_outside(tags: dict[str, str]) -> None:
    assert not is_settled_from_outside(promise("pending", **tags))


@pytest.mark.parametrize("tags", [{}, {"external": "true"}, {"scope": "global"}])
def test_other_promises_wait_for_somebody_outside(tags: dict[str, str]) -> None:
    assert is_settled_from_outside(promise("pending", **tags))
