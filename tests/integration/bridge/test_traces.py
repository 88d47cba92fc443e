"""The worked traces of §11, over HTTP, at the instants that they name."""

from typing import Any

import pytest

from tests.integration.bridge.system import Client
from tests.traces.traces import Json, Trace, execute, play, unblock, worked_traces


class HttpPlayer:
    """Plays operations to a bridge."""

    has_envelopes = True

    def __init__(self, client: Client) -> None:
        self.client = client

    async def reset(self) -> None:
        assert self.client("debug.reset", {}).status == 200

    async def outbox(self) -> set[str]:
        messages = self.client("debug.snap", {}).data["messages"]
        return {_named(each["address"], each["message"]) for each in messages}

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        answer = self.client(kind, data, at=at)
        return answer.status, answer.data


def _named(address: str, message: Json) -> str:
    data = message["data"]
    if message["kind"] == "execute":
        return execute(data["task"]["id"], data["task"]["version"], address)
    return unblock(data["promise"]["id"], address)


@pytest.mark.parametrize("trace", worked_traces(), ids=str)
async def test_a_worked_trace_reads_the_same_over_http(trace: Trace, timed: Client) -> None:
    await play(trace, HttpPlayer(timed))
