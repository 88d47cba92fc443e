"""The store's clock over steps of the system's."""

import pytest

from holdfast_store.clock import Clock


class System:
    wall_ms = 1_000
    monotonic_ms = 0

    def clock(self) -> Clock:
        return Clock(
            wall_ns=lambda: self.wall_ms * 1_000_000,
            monotonic_ns=lambda: self.monotonic_ms * 1_000_000,
        )

    def pass_time(self, span_ms: int) -> None:
        self.wall_ms += span_ms
        self.monotonic_ms += span_ms


def test_it_follows_the_system() -> None:
    system = System()
    clock = system.clock()
    first = clock()

    system.pass_time(250)

    assert (first, clock()) == (1_000, 1_250)


def test_after_a_step_back_it_goes_on_slowly_until_the_system_has_caught_up() -> None:
    system = System()
    clock = system.clock()
    clock()
    system.wall_ms -= 400
    seen = [clock()]

    for _ in range(10):
        system.pass_time(100)
        seen.append(clock())

    assert seen[:3] == [1_000, 1_050, 1_100]
    assert seen == sorted(seen)
    assert seen[-1] == system.wall_ms


def test_it_begins_where_an_earlier_process_ended_when_the_system_is_behind() -> None:
    system = System()
    clock = system.clock()
    clock.begin_at(61_000)
    seen = [clock()]

    system.pass_time(10_000)
    seen.append(clock())
    system.pass_time(110_000)

    assert seen == [61_000, 66_000]
    assert clock() == system.wall_ms == 121_000


def test_an_earlier_process_changes_nothing_when_the_system_is_ahead_of_it() -> None:
    system = System()
    clock = system.clock()
    clock.begin_at(999)

    assert clock() == system.wall_ms


def test_it_says_once_how_far_behind_the_system_is(caplog: pytest.LogCaptureFixture) -> None:
    system = System()
    clock = system.clock()
    clock.begin_at(61_000)
    for _ in range(12):
        system.pass_time(10_000)
        clock()
    system.wall_ms -= 5_000
    clock()

    assert {each.msg for each in caplog.records} == {"clock_set_back"}
    told = [each.holdfast_keys["behind_ms"] for each in caplog.records]  # type: ignore[attr-defined]
    assert told == [60_000, 5_000]


def test_it_keeps_quiet_about_small_steps(caplog: pytest.LogCaptureFixture) -> None:
    system = System()
    clock = system.clock()
    clock()
    system.wall_ms -= 500
    clock()

    assert not caplog.records
