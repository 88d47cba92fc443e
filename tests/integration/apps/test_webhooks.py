"""Signed webhooks: who may settle a promise from outside, and how often."""

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.signatures import ID, SIGNATURE, TIMESTAMP, sign
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "applications.md"
OLD, NEW, STRANGE = b"o" * 24, b"n" * 32, b"s" * 32


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    settings = GatewaySettings(webhook_secrets=(OLD, NEW))
    async with System(tmp_path_factory.mktemp("system"), World(), settings=settings) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="module")
async def promise_id(system: System) -> str:
    """A promise that waits for an approval."""
    made = await system.resonate.promises.create(f"approve/{uuid4().hex}")
    return made.id


def signed(
    body: bytes, *secrets: bytes, webhook_id: str = "msg_1", age_seconds: int = 0
) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_seconds)
    signatures = [
        sign(secret, webhook_id=webhook_id, timestamp=timestamp, body=body) for secret in secrets
    ]
    return {ID: webhook_id, TIMESTAMP: timestamp, SIGNATURE: " ".join(signatures)}


async def send(system: System, body: bytes, headers: dict[str, str]) -> httpx.Response:
    kind = {"content-type": "application/json"}
    encoded = {name: value.encode() for name, value in (headers | kind).items()}
    return await system.http.post(
        "/webhooks/approval",
        content=body,
        headers=[(name.encode(), value) for name, value in encoded.items()],
    )


def approval(promise_id: str, *, approved: bool = True) -> bytes:
    return json.dumps({"promiseId": promise_id, "approved": approved}).encode()


async def value_of(system: System, promise_id: str) -> Any:
    promise = await system.resonate.promises.get(promise_id)
    return "pending" if promise.is_pending else promise.value


@pytest.mark.parametrize(
    "change",
    [
        {SIGNATURE: ""},
        {SIGNATURE: "v1,"},
        {SIGNATURE: "v1," + "A" * 43 + "="},
        {SIGNATURE: "é"},
        {SIGNATURE: "v1,x " * 17},
        {TIMESTAMP: ""},
        {TIMESTAMP: "soon"},
        {TIMESTAMP: "-1"},
        {TIMESTAMP: "1" * 30},
        {TIMESTAMP: "١٢"},
        {ID: ""},
        {ID: "msg_2"},
        {ID: "msg.1"},
        {ID: "x" * 257},
    ],
)
async def test_j11_a_webhook_with_a_wrong_signature_leaves_the_promise_untouched(
    system: System, promise_id: str, change: dict[str, str]
) -> None:
    body = approval(promise_id)
    good = signed(body, NEW)

    answer = await send(system, body, good | change)

    assert answer.status_code == 401
    assert answer.json()["code"] == "invalid_signature"
    assert await value_of(system, promise_id) == "pending"


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
async def test_j11_no_header_may_be_absent(system: System, promise_id: str, name: str) -> None:
    body = approval(promise_id)
    headers = signed(body, NEW)
    del headers[name]

    answer = await send(system, body, headers)

    assert answer.status_code == 401
    assert name in answer.json()["detail"]
    assert await value_of(system, promise_id) == "pending"


@pytest.mark.parametrize("part", ["secret", "version", "body", "age", "early"])
async def test_j11_a_signature_of_something_else_does_not_fit(
    system: System, promise_id: str, part: str
) -> None:
    body = approval(promise_id)
    headers = signed(
        body + b" " if part == "body" else body,
        STRANGE if part == "secret" else NEW,
        age_seconds={"age": 310, "early": -310}.get(part, 0),
    )
    if part == "version":
        headers[SIGNATURE] = headers[SIGNATURE].replace("v1,", "v1a,")

    answer = await send(system, body, headers)

    assert answer.status_code == 401
    assert await value_of(system, promise_id) == "pending"


@pytest.mark.parametrize(
    "secrets", [[OLD], [NEW], [OLD, NEW], [STRANGE, NEW], [STRANGE] * 15 + [OLD]]
)
@pytest.mark.parametrize("age_seconds", [-290, 0, 290])
async def test_while_a_secret_is_replaced_one_that_fits_is_enough(
    system: System, promise_id: str, secrets: list[bytes], age_seconds: int
) -> None:
    body = approval(promise_id)
    headers = signed(body, *secrets, webhook_id=uuid4().hex, age_seconds=age_seconds)

    answer = await send(system, body, headers)

    assert answer.status_code == 204
    assert await value_of(system, promise_id) is True


async def test_j3_another_answer_under_another_id_comes_too_late(
    system: System, promise_id: str
) -> None:
    first, second = approval(promise_id), approval(promise_id, approved=False)

    codes = [
        (await send(system, body, signed(body, NEW, webhook_id=uuid4().hex))).status_code
        for body in (first, second)
    ]

    assert codes == [204, 204]
    assert await value_of(system, promise_id) is True


async def test_a_repetition_is_known_by_its_id_and_settles_nothing_else(
    system: System, promise_id: str
) -> None:
    other = await system.resonate.promises.create(f"approve/{uuid4().hex}")
    webhook_id = uuid4().hex
    first, second = approval(promise_id), approval(other.id)

    codes = [
        (await send(system, body, signed(body, NEW, webhook_id=webhook_id))).status_code
        for body in (first, first, second)
    ]

    assert codes == [204, 204, 204]
    assert await value_of(system, other.id) == "pending"


async def test_one_that_failed_is_taken_when_it_comes_again(system: System) -> None:
    promise_id, webhook_id = f"approve/{uuid4().hex}", uuid4().hex
    body = approval(promise_id)
    early = await send(system, body, signed(body, NEW, webhook_id=webhook_id))
    await system.resonate.promises.create(promise_id)

    again = await send(system, body, signed(body, NEW, webhook_id=webhook_id))

    assert (early.status_code, again.status_code) == (404, 204)
    assert await value_of(system, promise_id) is True


async def test_a_stranger_does_not_learn_whether_an_id_was_seen(
    system: System, promise_id: str
) -> None:
    body, webhook_id = approval(promise_id), uuid4().hex
    await send(system, body, signed(body, NEW, webhook_id=webhook_id))

    answer = await send(system, body, signed(body, STRANGE, webhook_id=webhook_id))

    assert answer.status_code == 401


def headers_of_the_page() -> Callable[[str, str, bytes], dict[str, str]]:
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(block, names)
    headers: Callable[[str, str, bytes], dict[str, str]] = names["headers"]
    return headers


async def test_the_lines_of_the_page_sign_a_webhook(system: System, promise_id: str) -> None:
    body, secret = approval(promise_id), "whsec_" + base64.b64encode(NEW).decode()

    answer = await send(system, body, headers_of_the_page()(secret, uuid4().hex, body))

    assert answer.status_code == 204
    assert await value_of(system, promise_id) is True
