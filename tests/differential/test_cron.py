"""When a schedule runs next is the same to the model, wherever clocks are set forward or back."""

import random
from collections.abc import Iterator

import pytest

from holdfast.core.cron import next_after
from tests.model import cron as model

DAY_MS = 86_400_000
CHANGES = {
    "Europe/Berlin": (1_711_846_800_000, 1_729_990_800_000),
    "America/New_York": (1_710_054_000_000, 1_730_613_600_000),
    "America/St_Johns": (1_710_048_600_000, 1_730_608_200_000),
    "Asia/Kolkata": (1_700_000_000_000,),
    "": (1_700_000_000_000,),
}
"""Instants at which clocks were set forward and back, where they are."""
MINUTES = ("0", "30", "5,55", "*/20", "*", "10-20/5")
HOURS = ("*", "*/6", "0", "1", "2", "2,3", "1-3", "23")
DAYS = ("*", "*", "*/2", "10,31", "sun")


def expressions(dice: random.Random) -> Iterator[str]:
    while True:
        second = dice.choice(["", "0 "])
        day = dice.choice(DAYS)
        days = f"* * {day}" if day == "sun" else f"{day} * *"
        yield f"{second}{dice.choice(MINUTES)} {dice.choice(HOURS)} {days}"


@pytest.mark.parametrize("zone", CHANGES)
def test_the_next_instant_is_that_of_the_model(zone: str) -> None:
    dice = random.Random(7)
    for expression, _ in zip(expressions(dice), range(60), strict=False):
        for change_ms in CHANGES[zone]:
            after_ms = change_ms + dice.randrange(-2 * DAY_MS, DAY_MS)
            for _ in range(3):
                expected = model.next_after(expression, zone, after_ms)

                found = next_after(expression, zone, after_ms)

                assert found == expected, f"{expression!r} in {zone!r} after {after_ms}"
                after_ms = expected
