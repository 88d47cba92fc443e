"""What a request costs the store."""

from typing import Any

import httpx
import pytest

from holdfast import Resonate
from holdfast.embedded import open_embedded
from holdfast_gateway.app import create_app
from holdfast_gateway.settings import GatewaySettings
from tests.integration.library.world import RecordingStore

ORDER = {
    "id": "ord-1",
    "items": [{"sku": "mug", "qty": 1, "price": 5}],
    "customer": {"id": "c", "email": "ada@example.com"},
}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/orders", ORDER),
        ("/jobs", {"accountId": "acct-1"}),
        ("/jobs/aggregate", {"accountIds": ["acct-1"]}),
        ("/api/reports", {"type": "sales"}),
        ("/begin?id=one", {"n": 1}),
        ("/buy/buy-1", {"itemId": "mug"}),
    ],
)
async def test_a_post_is_one_create_and_nothing_else(path: str, body: object) -> None:
    store = RecordingStore(open_embedded(":memory:"))
    async with Resonate(group="gateway", store=store, accept_tasks=False, env={}) as resonate:
        app: Any = create_app(GatewaySettings(), resonate)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            answer = await http.post(path, json=body)

    assert answer.is_success
    assert store.kinds() == [["PromiseCreate"]]
