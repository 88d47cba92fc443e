"""The product does what a second, naive implementation of the protocol does."""

import asyncio
from pathlib import Path

import pytest

from tests.differential.backends import Core, Stored
from tests.differential.batches import batches_of, replay_in_batches
from tests.differential.bridged import Bridged
from tests.differential.coverage import DERIVED
from tests.differential.dice import HTTP_KINDS, KINDS
from tests.differential.exploring import Exploration
from tests.differential.opening import NAMES, opened
from tests.differential.pairing import DEFAULT, OVER_HTTP, PAIRS, Pair

REPORTED = {*KINDS, *DERIVED}


@pytest.mark.timeout(300)
def test_the_rules_do_what_the_model_does_in_every_reachable_state(explored: Exploration) -> None:
    print(explored.report())  # noqa: T201 - the table belongs to the result

    assert explored.coverage.impossible() == [], "unreachable.txt says that these cannot be"
    assert explored.coverage.missed(REPORTED) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
async def test_the_rules_do_what_the_model_does_with_other_knobs(pair: Pair) -> None:
    exploration = Exploration(
        pair.make_model, [Core(pair.product)], sequences_max=60, looks_every=2
    )

    await exploration.run(1)

    assert {kind for kind, _, outcome in exploration.coverage.seen if outcome[0] == "2"} >= {
        *KINDS
    } - {"debug.tick"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "core"])
async def test_each_storage_does_what_the_model_does_wherever_the_rules_were_led(
    name: str, explored: Exploration, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The databases play what showed something new to the rules, and look into every state too."""

    def postgres() -> str:
        return str(request.getfixturevalue("postgres_server").empty_database())

    async with opened(name, DEFAULT, folder=tmp_path, postgres=postgres) as backend:
        exploration = Exploration(DEFAULT.make_model, [backend], looks_every=15)

        for steps in explored.cover():
            found = await exploration.replay(backend, steps)
            if found is not None:
                raise await exploration.shrunk(found)

    assert set(exploration.coverage.seen) == set(explored.coverage.seen)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["memory", "sqlite", "postgresql"])
async def test_several_operations_in_one_transaction_come_to_the_same(
    name: str, explored: Exploration, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def postgres() -> str:
        return str(request.getfixturevalue("postgres_server").empty_database())

    together = 0
    async with opened(name, DEFAULT, folder=tmp_path, postgres=postgres) as backend:
        assert isinstance(backend, Stored)
        for steps in explored.cover():
            await replay_in_batches(DEFAULT.make_model, backend, steps)
            together += sum(len(batch) > 1 for batch in batches_of(steps))

    assert together > 500, "hardly anything was done together"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("is_wild", "outcome"), [(False, "200"), (True, "400")], ids=["well formed", "of any type"]
)
def test_the_bridge_does_what_the_model_does(
    bridge: Bridged, *, is_wild: bool, outcome: str
) -> None:
    """Only JSON can carry members of a wrong type; they are refused alike."""
    exploration = Exploration(
        OVER_HTTP.make_model,
        [bridge],
        HTTP_KINDS,
        sequences_max=30,
        is_wild=is_wild,
        looks_every=12,
    )

    asyncio.run(exploration.run(1_000))

    answered = {kind for kind, _, each in exploration.coverage.seen if each.startswith(outcome)}
    assert answered == {*HTTP_KINDS} - {"debug.tick"}
