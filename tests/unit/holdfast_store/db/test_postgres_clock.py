"""The database's clock as a process tells it between two readings."""

from holdfast_store.db.postgres.clock import DatabaseClock


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


def test_an_answer_that_was_long_on_its_way_sets_nothing_back() -> None:
    """A busy store would else give its connections names that are older than they are."""
    machine = Machine()
    clock = machine.clock()
    clock.hear(10_000)

    asked_ns = clock.asks()
    machine.now_ms += 400
    heard = clock.hear(10_100, asked_ns=asked_ns)  # read 300 ms ago

    assert (heard, clock()) == (10_400, 10_400)


def test_an_answer_that_came_quicker_than_any_before_sets_it_forward() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.hear(10_000)

    asked_ns = clock.asks()
    machine.now_ms += 2
    heard = clock.hear(10_300, asked_ns=asked_ns)

    assert heard == 10_300


def test_what_no_delay_explains_is_believed() -> None:
    """The database's clock was set back: time goes on slowly until it has caught up."""
    machine = Machine()
    clock = machine.clock()
    clock.hear(10_000)

    asked_ns = clock.asks()
    machine.now_ms += 100
    clock.hear(9_000, asked_ns=asked_ns)
    machine.now_ms += 500

    assert clock() == 10_000 + (100 + 500) // 2
