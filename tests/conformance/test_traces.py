"""The worked traces of the protocol, told to everything that is judged at named instants."""

from collections.abc import Callable

import pytest

from tests.conformance.systems import TIMED, opened
from tests.traces.traces import Player, Trace, play, worked_traces


@pytest.mark.parametrize("system_name", TIMED, indirect=True)
@pytest.mark.parametrize("trace", worked_traces(), ids=str)
async def test_a_worked_trace(system_name: str, place: Callable[[], str], trace: Trace) -> None:
    async with opened(system_name, place) as system:
        await play(trace, as_player(system))


def as_player(system: object) -> Player:
    """Everything that tells time plays traces too."""
    assert isinstance(system, Player)
    return system
