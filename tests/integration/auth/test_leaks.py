"""What a bounded token could learn or break although nothing that it named was denied."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import errors
from holdfast.core.ids import HTTP_GROUP
from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
)
from holdfast.rpc import Access, RemoteStore
from tests.integration.apps.processes import PORT_0, Start
from tests.integration.rpc.support import FAR_MS, Mailbox, join, member, until
from tests.issuing import Issuer


async def url_of_store(start: Start, keys: Path) -> str:
    store = start("store", AUTH_KEYS=str(keys))
    await store.ready()
    return f"grpc://{(await store.logged('store_listening'))['address']}"


async def test_events_tell_of_those_children_only_that_the_token_covers(
    start: Start, keys: Path, tmp_path: Path, issuer: Issuer
) -> None:
    """A watch is shared by all who follow a workflow, and sees what the gateway may see."""
    token = tmp_path / "token"
    token.write_text(issuer.token(prefix=""))
    way = {"STORE_URL": await url_of_store(start, keys), "STORE_TOKEN_FILE": str(token)}
    listens = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0}
    gateway = start("gateway", **way, **listens, AUTH_KEYS=str(keys))
    await gateway.ready()
    url = f"http://{(await gateway.logged('gateway_started'))['address']}"

    def bearer(**claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {issuer.token(**claims)}"}

    async def follow(http: httpx.AsyncClient, **claims: Any) -> str:
        events = "/v1/workflows/foo/-/events?id=a/1"
        return (await http.get(events, headers=bearer(**claims))).text

    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        started = {"id": "a/1", "target": "nobody"}
        await http.post("/v1/workflows/foo", json=started, headers=bearer(role="admin"))
        for name in ("a/1.1", "b/secret"):
            child = {"id": name, "timeoutMs": 3_600_000, "tags": {"resonate:parent": "a/1"}}
            made = await http.post("/v1/promises", json=child, headers=bearer(role="admin"))
            assert made.status_code == 201
        following = [
            asyncio.create_task(follow(http, **claims))
            for claims in ({"prefix": "a/"}, {"role": "admin"})
        ]
        async with asyncio.timeout(30):
            settled = await http.post("/v1/promises/-/resolve?id=a/1", headers=bearer(prefix="a/"))
            bounded, everything = await asyncio.gather(*following)

    assert settled.json()["state"] == "resolved"
    assert "a/1.1" in everything
    assert "b/secret" in everything
    assert "event: settled" in bounded
    assert "a/1.1" in bounded
    assert "secret" not in bounded


class Relay(Mailbox):
    """Sends on what it receives, as a gateway does."""

    def __init__(self) -> None:
        super().__init__()
        self.unblocked: asyncio.Queue[tuple[str, Promise]] = asyncio.Queue()

    def on_unblock(self, address: str, promise: Promise) -> None:
        self.unblocked.put_nowait((address, promise))


async def test_only_whoever_may_have_every_message_sends_them_on(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    """It takes what waits for all HTTP addresses, and what it must not see would be lost."""
    url = await url_of_store(start, keys)

    def access(prefix: str) -> Access:
        return Access(token=issuer.token(prefix=prefix))

    def relay(pid: str) -> Any:
        return member(pid, groups=(HTTP_GROUP,))

    address = "http://a.test/told"
    async with join(url, member("a", groups=()), access=access("a/")) as (a, _):
        created = PromiseCreate(id="a/1", timeout_at_ms=FAR_MS, tags={"resonate:external": "true"})
        listen = PromiseRegisterListener(awaited="a/1", address=address)
        settle = PromiseSettle(id="a/1", state=PromiseState.RESOLVED)
        await until(a.submit([created, listen, settle]))
        async with join(url, relay("b"), connected=False, access=access("b/")) as (b, _):
            with pytest.raises(errors.ResonateError) as caught:
                await until(b.submit([PromiseGet(id="b/1")]))
        gateway, inbox = RemoteStore(url, access=access("")), Relay()
        try:
            await gateway.start(relay("gateway"), inbox)
            told, promise = await until(inbox.unblocked.get())
        finally:
            await gateway.close()

    assert caught.value.code == "prefix_not_empty"
    assert (told, promise.id) == (address, "a/1")
