"""The differential test tells the model from every mutant of it: it checks what it claims to."""

import pytest

from tests.differential.backends import Core
from tests.differential.dice import KINDS
from tests.differential.exploring import Exploration
from tests.differential.pairing import DEFAULT
from tests.differential.plays import Disagreement
from tests.model.model import Model
from tests.model.mutants import MUTANTS

SEQUENCES_MAX = 600
STEPS_MAX = 20
"""Most are told in two or three steps; leaving steps out one by one may end in a longer one."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
async def test_a_wrong_rule_is_noticed_and_told_in_few_steps(mutant: type[Model]) -> None:
    exploration = Exploration(
        lambda: mutant(DEFAULT.model),
        [Core(DEFAULT.product)],
        getattr(mutant, "about", KINDS),
        sequences_max=SEQUENCES_MAX,
        looks_every=4,
    )

    with pytest.raises(Disagreement) as found:
        await exploration.run(1)

    assert len(found.value.steps) <= STEPS_MAX, str(found.value)


def test_there_are_at_least_twenty_mutants_and_each_says_what_is_wrong_with_it() -> None:
    assert len(MUTANTS) >= 20
    assert [mutant.__name__ for mutant in MUTANTS if not mutant.__doc__] == []
