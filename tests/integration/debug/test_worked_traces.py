"""The worked traces of the protocol, over gRPC, at their own instants."""

import pytest

from tests.integration.debug.conftest import DebugStore
from tests.traces.store_player import StorePlayer
from tests.traces.traces import Trace, difference_of, play, worked_traces


@pytest.mark.parametrize("trace", worked_traces(), ids=str)
async def test_a_store_does_what_the_trace_says(store: DebugStore, trace: Trace) -> None:
    async with StorePlayer(store.url) as player:
        await play(trace, player)


def test_every_section_has_its_traces() -> None:
    sections = {trace.section for trace in worked_traces()}

    assert sections == {f"11.{number}" for number in range(1, 11)}


def test_a_player_that_does_something_else_is_found_out() -> None:
    expected = {"task": {"state": "pending", "pid": None}, "preload": [], "param": {}}

    assert difference_of(expected, expected | {"more": 1}, "answer") is None
    assert difference_of(expected, expected | {"task": {"state": "pending"}}, "answer") is None
    for wrong in ({"task": {"state": "halted"}}, {"task": {"state": "pending", "pid": "a"}}):
        assert difference_of(expected, expected | wrong, "answer") is not None
    assert difference_of(expected, expected | {"preload": [1]}, "answer") is not None
    assert difference_of(expected, expected | {"param": {"data": ""}}, "answer") is not None
    assert difference_of(expected, {}, "answer") is not None
