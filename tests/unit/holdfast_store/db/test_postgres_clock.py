"""The database's clock as a process tells it between two readings."""

from holdfast_store.db.postgres_clock import DatabaseClock


class Machine:
    """A process's own clock, which says nothing about the time of day."""

    now_ms = 5_000

    def clock(self) -> DatabaseClock:
        return DatabaseClock(monotonic_ns=lambda: self.now_ms * 1_000_000)


def test_it_tells_the_time_of_the_database_and_goes_on_by_itself() -> None:
    machine = Machine()
    clock = machine.clock()

    heard = clock.hear(1_000_000)
    machine.now_ms += 250

    assert (heard, clock()) == (1_000_000, 1_000_250)


def test_what_this_machine_believed_before_is_forgotten() -> None:
    """It may have been an hour ahead: nothing must wait until the database has caught up."""
    machine = Machine()
    clock = machine.clock()
    clock()

    assert clock.hear(1_000) == 1_000


def test_it_never_runs_backwards_when_a_slower_database_takes_over() -> None:
    machine = Machine()
    clock = machine.clock()
    seen = [clock.hear(10_000)]

    for database_ms in range(9_575, 10_900, 100):
        machine.now_ms += 100
        seen.append(clock.hear(database_ms))

    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen), "it does not stand still either"
    assert seen[-1] == 10_875
