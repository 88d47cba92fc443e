"""What is answered when the connection to the store broke, and the operation was sent again."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from holdfast.core.requests import Done, Outcome, Refusal, Request
from holdfast.errors import ServerOverloaded, ServerUnavailable
from holdfast.port import Answer
from holdfast.rpc import Admin, Calls
from holdfast_gateway.bridge.operations import Operations
from holdfast_gateway.bridge.service import Service

LEASE = b'{"kind":"task.release","head":{"corrId":"c","version":"2026-04-01"},"data":%s}'
BODY = LEASE % b'{"id":"t","version":1}'


class Store:
    """Answers one thing."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer

    def submit(self, chain: Sequence[Request]) -> "asyncio.Future[Answer]":
        assert len(chain) == 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        else:
            future.set_result(self.answer)
        return future

    async def search_promises(self, search: Any) -> Any:
        raise AssertionError(search)

    async def search_tasks(self, search: Any) -> Any:
        raise AssertionError(search)


async def status(answer: Answer | Exception) -> int:
    calls, admin = cast("Calls", None), cast("Admin", None)
    service = Service(Operations(Store(answer), calls, admin), None)
    return (await service.answer(BODY)).status


def refused(code: int) -> Outcome:
    return Refusal(status=code, code="x", message="no")


@pytest.mark.parametrize(
    ("outcome", "resent", "expected"),
    [
        (Done(), False, 200),
        (Done(), True, 200),
        (refused(409), False, 409),
        (refused(409), True, 503),
        (refused(404), True, 404),
        (refused(400), True, 400),
    ],
)
async def test_a_conflict_may_be_that_of_the_first_sending(
    outcome: Outcome,
    resent: bool,  # noqa: FBT001 - from the table above
    expected: int,
) -> None:
    assert await status(Answer(outcomes=[outcome], resent=resent)) == expected


@pytest.mark.parametrize("error", [ServerUnavailable("away"), ServerOverloaded("full")])
async def test_what_has_no_answer_is_indefinite(error: Exception) -> None:
    assert await status(error) == 503


async def test_a_defect_is_indefinite_too() -> None:
    assert await status(RuntimeError("a defect")) == 500
