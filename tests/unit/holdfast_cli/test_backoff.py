"""When a crashed process is started again."""

from holdfast_cli.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff()

    delays = [backoff.after(lived=1.0) for _ in range(7)]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_life_is_forgiven() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(lived=1.0)

    delays = [backoff.after(lived=30.0), backoff.after(lived=1.0)]

    assert delays == [0.2, 0.4]
