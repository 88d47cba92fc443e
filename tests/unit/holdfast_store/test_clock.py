"""The store's clock over steps of the system's."""

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
