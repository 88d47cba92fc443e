from holdfast.runtime.lease import LeaseClock
from holdfast.testing.clock import FakeClock


def lease_clock() -> tuple[FakeClock, LeaseClock]:
    clock = FakeClock()
    return clock, LeaseClock(clock, ttl_s=60, margin_s=15)


def test_a_lease_is_safe_until_a_margin_before_its_end() -> None:
    clock, leases = lease_clock()
    leases.connected()
    until = leases.now() + 60

    clock.advance(44.9)
    before = leases.is_safe(until)
    clock.advance(0.1)

    assert before
    assert not leases.is_safe(until)


def test_no_lease_is_safe_while_the_store_is_away() -> None:
    _, leases = lease_clock()
    until = leases.now() + 60

    assert not leases.is_safe(until)
    leases.connected()
    assert leases.is_safe(until)
    leases.disconnected()
    assert not leases.is_safe(until)


def test_a_pushed_lease_counts_from_the_last_acknowledged_sending() -> None:
    """A process that was stopped sees the push late, and must not believe in its lease."""
    clock, leases = lease_clock()
    leases.connected()
    sent_at = leases.now()
    leases.acknowledge(sent_at)

    clock.advance(120)

    assert leases.pushed_until() == sent_at + 60
    assert not leases.is_safe(leases.pushed_until())


def test_after_a_reconnect_a_push_counts_from_the_moment_the_stream_was_lost() -> None:
    clock, leases = lease_clock()
    leases.connected()
    clock.advance(100)
    leases.disconnected()
    clock.advance(5)
    leases.connected()

    assert leases.pushed_until() == 160
