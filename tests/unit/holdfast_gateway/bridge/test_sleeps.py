"""Sleeps with targets, as clients write them."""

import pytest

from holdfast.core.requests import PromiseCreate, TaskFence
from holdfast_gateway.bridge.sleeps import as_sleep

SLEEP = {
    "resonate:timer": "true",
    "resonate:target": "poll://any@g",
    "resonate:scope": "global",
    "own": "tag",
}


def create(tags: dict[str, str]) -> PromiseCreate:
    return PromiseCreate(id="a", timeout_at_ms=5, tags=tags)


def test_a_sleep_loses_its_target_and_nothing_else() -> None:
    fence = TaskFence(id="t", version=1, action=create(SLEEP))

    kept = {name: text for name, text in SLEEP.items() if name != "resonate:target"}
    assert as_sleep(create(SLEEP)) == create(kept)
    assert as_sleep(fence) == TaskFence(id="t", version=1, action=create(kept))


@pytest.mark.parametrize("missing", ["resonate:timer", "resonate:scope", "resonate:target"])
def test_anything_else_stays_as_it_is(missing: str) -> None:
    tags = {name: text for name, text in SLEEP.items() if name != missing}

    assert as_sleep(create(tags)) == create(tags)


def test_a_timer_that_is_switched_off_is_no_sleep() -> None:
    tags = {**SLEEP, "resonate:timer": "false"}

    assert as_sleep(create(tags)) == create(tags)
