"""Which steps are announced while they run, and when."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from holdfast.core.records import PromiseState
from holdfast.runtime.slow import SlowSteps

SPAN_S = 5.0


class Loop:
    """As much of an event loop as a timer needs; the test turns its clock."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, Callable[[], None]]] = []

    @property
    def timers(self) -> int:
        return len(self._calls)

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.call_at(self._now + delay, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._calls.append((when, callback))

    def advance(self, seconds: float) -> None:
        self._now += seconds
        due = [callback for when, callback in self._calls if when <= self._now]
        self._calls = [(when, callback) for when, callback in self._calls if when > self._now]
        for callback in due:
            callback()


@dataclass
class Child:
    """A step that runs."""

    name: str
    state: PromiseState | None = None
    sent: int = 0
    known: bool = False


@dataclass
class Run:
    """A run, and its writer too: notes what is announced and that it is sent."""

    ending: bool = False
    announced: list[str] = field(default_factory=list)
    sendings: int = 0

    @property
    def writer(self) -> "Run":
        return self

    def queue_create(self, child: Child) -> None:
        self.announced.append(child.name)
        child.sent = 1

    def flush_soon(self) -> None:
        self.sendings += 1


class Watch:
    """Steps under watch, with what they stand on."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.run = Run()
        self._steps = SlowSteps(cast("Any", self.loop), span_s=SPAN_S)

    def begin(self, name: str) -> Child:
        child = Child(name)
        self._steps.watch(cast("Any", self.run), cast("Any", child))
        return child


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_each_step_is_announced_when_its_own_span_is_over(watch: Watch) -> None:
    watch.begin("first")
    watch.loop.advance(3)
    watch.begin("second")

    watch.loop.advance(2)
    after_five = list(watch.run.announced)
    watch.loop.advance(3)

    assert after_five == ["first"]
    assert watch.run.announced == ["first", "second"]
    assert watch.run.sendings == 2


def test_a_step_that_begins_after_a_sweep_is_announced_too(watch: Watch) -> None:
    watch.begin("first")
    watch.loop.advance(SPAN_S)
    watch.begin("second")
    watch.loop.advance(SPAN_S)

    assert watch.run.announced == ["first", "second"]


def test_a_step_that_is_over_in_time_is_not_announced(watch: Watch) -> None:
    watch.begin("quick").state = PromiseState.RESOLVED
    watch.begin("slow")
    watch.loop.advance(SPAN_S)

    assert watch.run.announced == ["slow"]


def test_a_step_that_was_announced_meanwhile_is_not_announced_again(watch: Watch) -> None:
    watch.begin("in back-off").sent = 7
    watch.loop.advance(SPAN_S)

    assert watch.run.announced == []


@pytest.mark.parametrize("begun", [{"known": True}, {"sent": 3}], ids=["known", "sent"])
def test_a_step_that_the_store_has_already_sets_no_timer(begun: dict[str, Any]) -> None:
    loop = Loop()
    steps = SlowSteps(cast("Any", loop), span_s=SPAN_S)

    steps.watch(cast("Any", Run()), cast("Any", Child("announced", **begun)))
    steps.watch(cast("Any", Run()), None)

    assert loop.timers == 0


def test_a_run_whose_last_write_is_decided_announces_nothing(watch: Watch) -> None:
    watch.begin("slow")
    watch.run.ending = True
    watch.loop.advance(SPAN_S)

    assert watch.run.announced == []
