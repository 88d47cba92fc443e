from dataclasses import dataclass

from holdfast_chassis.seldom import Seldom


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_told_at_once_and_one_per_span_with_the_number_of_those_between() -> None:
    clock = Clock()
    seldom = Seldom(10.0, clock=clock)

    told = []
    for clock.now in (1_000.0, 1_001.0, 1_009.9, 1_010.0, 1_020.0, 1_021.0):
        told.append(seldom.due("away"))

    assert told == [0, None, None, 2, 0, None]


def test_another_kind_is_told_at_once() -> None:
    seldom = Seldom(10.0, clock=Clock())

    assert [seldom.due("away"), seldom.due("full"), seldom.due("away")] == [0, 0, None]
